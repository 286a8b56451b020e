"""The store on Azurite by azure-data-tables and azure-storage-queue: read whole; what they put is recorded as it was put."""

import base64
import json

from azure.data.tables import TableServiceClient
from azure.storage.queue import QueueClient, QueueServiceClient
from world import PREFIX

MUTATION = "a message that is not what the queue's reader writes"


def tables(world):
    service = TableServiceClient.from_connection_string(world.storage)
    names = [table.name for table in service.list_tables() if table.name.startswith(PREFIX)]
    assert names, "no tables"
    count = 0
    for name in names:
        for entity in service.get_table_client(name).list_entities():
            count += 1
            assert entity["PartitionKey"] is not None and entity["RowKey"] is not None
            assert entity.metadata["etag"], entity
            for key, value in entity.items():
                assert isinstance(value, (str, bytes, int, float, bool)) or hasattr(value, "isoformat"), (name, key, type(value))
    assert count >= 30, f"{count} entities"
    return len(names), count


def queues(world, mutant):
    service = QueueServiceClient.from_connection_string(world.storage)
    names = [queue.name for queue in service.list_queues() if queue.name.startswith(PREFIX)]
    assert len(names) >= 4, names
    # A poison queue is read by nobody within a second: what we put there comes back as it was put, and is then recorded.
    poison = next(name for name in names if name.endswith("failures-poison"))
    before = len(json.loads(world.api("deadletters")[1])["dead_letters"])
    text = "\u0000 nothing of ours" if mutant else json.dumps({"put by": "azure-storage-queue", "text": "ü 日本 🎉"}, ensure_ascii=False)
    queue = QueueClient.from_connection_string(world.storage, poison)
    queue.send_message(base64.b64encode(text.encode()).decode() if not mutant else text)

    def recorded():
        letters = json.loads(world.api("deadletters")[1])["dead_letters"]
        return len(letters) > before and any(letter["text"] == text for letter in letters)

    world.until("the message is recorded as it was put", recorded, 5 if mutant else 20)
    return names


def check(world, mutant):
    found, count = tables(world)
    return f"{count} entities of {found} tables by azure-data-tables, {len(queues(world, mutant))} queues by azure-storage-queue"
