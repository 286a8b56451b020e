"""Slack's payloads by @slack/types and slack_sdk's models; signatures both ways; slack_sdk's client against the simulator."""

import json
import time
import urllib.parse

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View
from slack_sdk.signature import SignatureVerifier
from world import SIGNING_SECRET, call, node

MUTATION = "a header of 151 characters, and a block of no known type"


def payloads(world):
    for request in world.requests("slack"):
        if request["path"] in ("/api/chat.postMessage", "/api/chat.update"):
            yield request["path"].rsplit(".")[-1], json.loads(request["body"])


def models(posted):
    count = 0
    for _, payload in posted:
        blocks = Block.parse_all(payload["blocks"])
        assert len(blocks) == len(payload["blocks"]), "slack_sdk does not know a block"
        for block, given in zip(blocks, payload["blocks"]):
            assert block is not None, f"slack_sdk does not know {given['type']}"
            block.validate_json()
            count += 1
        total = sum(len(text) for text in texts(payload["blocks"]))
        assert total < 12_000, f"{total} characters of block text"
    return count


def texts(value):
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value["text"]
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def signatures(world, posted):
    """The simulator's signature by slack_sdk's verifier; slack_sdk's signature by our door."""
    verifier = SignatureVerifier(SIGNING_SECRET)
    button = next((b for _, p in posted for block in p["blocks"] for b in block.get("elements", []) if b.get("type") == "button"), None)
    payload = {"type": "block_actions", "user": {"id": "U0STRANGER", "name": "x"}, "actions": [{"type": "button", "action_id": "nothing_of_ours"}]}
    body = "payload=" + urllib.parse.quote(json.dumps(payload))
    stamp = str(int(time.time()))
    for signature, wanted in [(verifier.generate_signature(timestamp=stamp, body=body), 200), ("v0=" + "0" * 64, 401)]:
        send(world, body, stamp, signature, wanted)
    if button:
        ts = history(world)[0]["ts"]
        click = world.control(f"click?ts={ts}&action={button['action_id']}&user=U0JOHNDOE")
        if click:
            assert verifier.is_valid(click["body"], click["timestamp"], click["signature"]), "slack_sdk refuses the simulator's signature"


def send(world, body, stamp, signature, wanted=200):
    status, answer = call(f"{world.url}/slack/interactions", "POST", body.encode(), {
        "content-type": "application/x-www-form-urlencoded", "x-slack-request-timestamp": stamp, "x-slack-signature": signature})
    assert status == wanted, f"the door answered {status} instead of {wanted}: {answer}"


def answers(world, posted):
    """What only the person sees who pressed: the form by slack_sdk's model of views, the refusal."""
    verifier = SignatureVerifier(SIGNING_SECRET)
    elements = [e for _, p in posted for block in p["blocks"] for e in block.get("elements", [])]
    element = lambda action: next(e for e in elements if e.get("action_id") == action)
    choice = element("other_cause")["options"][0]["value"]
    for action in ({"action_id": "other_cause", "selected_option": {"value": choice}},
                   {"action_id": "close_ticket", "value": element("close_ticket")["value"]}):
        trigger = f"{int(time.time() * 1e6)}.U0STRANGER.simulated"
        payload = {"type": "block_actions", "user": {"id": "U0STRANGER", "name": "x"}, "channel": {"id": "C01234567AB"},
                   "trigger_id": trigger, "actions": [action]}
        body, stamp = "payload=" + urllib.parse.quote(json.dumps(payload)), str(int(time.time()))
        send(world, body, stamp, verifier.generate_signature(timestamp=stamp, body=body))
    opened = [json.loads(r["body"]) for r in world.requests("slack") if r["path"] == "/api/views.open"]
    assert opened, "no form was opened"
    view = opened[-1]["view"]
    View(**view).validate_json()
    assert all(block is not None for block in Block.parse_all(view["blocks"])), "slack_sdk does not know a block of the form"
    told = [json.loads(r["body"]) for r in world.requests("slack") if r["path"] == "/api/chat.postEphemeral"]
    assert told and told[-1]["user"] == "U0STRANGER", "who may not close was not told"
    return view


def client(world):
    return WebClient(token="xoxb-simulated-token", base_url=world.at["slack"])


def history(world):
    return [message for _, message in enumerate(json.loads(r["body"]) | {"ts": ""} for r in world.requests("slack") if r["path"] == "/api/chat.postMessage")] or [{"ts": ""}]


def conversation(world):
    slack = client(world)
    assert slack.auth_test()["bot_id"]
    first = slack.conversations_list(types="public_channel", limit=1)
    assert first["response_metadata"]["next_cursor"], "the cursor survives form posts"
    seen = [channel["name"] for page in slack.conversations_list(types="public_channel", limit=1) for channel in page["channels"]]
    assert sorted(seen) == ["aiops-rca-alerts", "general"], seen
    try:
        slack.conversations_list(types="public_channel,private_channel")
        raise AssertionError("private channels need groups:read")
    except SlackApiError as error:
        assert error.response["needed"] == "groups:read", error.response
    posted = slack.chat_postMessage(channel="C0GENERAL01", text="hello", metadata={"event_type": "x", "event_payload": {"a": 1}})
    assert posted["message"]["text"] == "hello"
    slack.chat_update(channel="C0GENERAL01", ts=posted["ts"], text="changed")
    try:
        slack.conversations_history(channel="C0GENERAL01")
        raise AssertionError("history needs channels:history")
    except SlackApiError as error:
        assert error.response["needed"] == "channels:history", error.response
    assert slack.conversations_info(channel="C0GENERAL01")["channel"]["name"] == "general"


def check(world, mutant):
    posted = list(payloads(world))
    assert {"postMessage", "update"} <= {method for method, _ in posted} and len(posted) >= 20, "the program posted too little"
    if mutant:
        posted[0][1]["blocks"][0]["text"]["text"] = "x" * 151
        try:
            models(posted)
        except Exception:
            pass
        else:
            return "slack_sdk took a header of 151 characters"
        posted[0][1]["blocks"][0]["type"] = "headline"
    else:
        count = models(posted)
    view = answers(world, posted)
    said = node("parts/slack.mjs", {"messages": [payload for _, payload in posted], "views": [view]})
    signatures(world, posted)
    conversation(world)
    return f"{said}, {count} blocks by slack_sdk's models, signatures both ways, a conversation of its client"
