"""The bot's calls by botframework-connector's client and models, tokens by its validation; cards by adaptivecards and @microsoft/teams.cards."""

import asyncio
import json
import time
from urllib.parse import unquote

from botbuilder.schema import Activity, AdaptiveCardInvokeResponse, AdaptiveCardInvokeValue, ConversationParameters, ErrorResponseException
from botframework.connector import ConnectorClient
from botframework.connector.auth import ChannelValidation, SimpleCredentialProvider
from msrest.authentication import BasicTokenAuthentication
from world import BOT, bot_token, call, node

MUTATION = "a field that no activity has, a card that says a version too early, and a link that is a number"
CARD = "application/vnd.microsoft.card.adaptive"


def calls(world):
    """What the program asked the Bot Connector: method, path and body."""
    for request in world.requests("teams"):
        if request["path"].startswith("/teams/v3/") and "msrest" not in request["headers"].get("user-agent", ""):
            yield request["method"], request["path"], json.loads(request["body"])


def activity_of(body):
    return body.get("activity", body)


def whole(model, given):
    """The official model knows every field of it: what was read and written again is the same."""
    if isinstance(given.get("conversation"), dict):
        # Teams' documents spell it one way, these models another.
        given = given | {"conversation": {{"tenantId": "tenantID"}.get(name, name): value for name, value in given["conversation"].items()}}
    read = model.deserialize(given)
    problems = read.validate()
    assert not problems, problems
    written = read.serialize(keep_readonly=True)
    assert plain(written) == plain(given), f"{model.__name__} knows {sorted(plain(written))}, given are {sorted(plain(given))}"
    return read


def plain(value):
    """Without the digits of times, and without what is null."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items() if inner is not None and name != "timestamp"}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def models(made):
    for method, path, body in made:
        assert ";" not in path and "@" not in path, f"{path} is not encoded"
        whole(ConversationParameters if path == "/teams/v3/conversations" else Activity, body)
        attachment, = activity_of(body)["attachments"]
        assert attachment["contentType"] == CARD and activity_of(body)["summary"], attachment


def client(world):
    token = {"access_token": "token-for-https://api.botframework.com"}
    return ConnectorClient(BasicTokenAuthentication(token), base_url=f"{world.at['teams']}teams").conversations


def conversation(world, made):
    """The official client makes the same calls, and understands the simulator's answers."""
    client_of = client(world)

    def same(what, first, send):
        method, path, body = first
        answer = send(body)
        request = world.requests("teams")[-1]
        sent = plain(json.loads(request["body"]))
        assert (request["method"], unquote(request["path"])) == (method, unquote(path)), f"{what}: {request['path']}, ours {path}"
        assert sent == plain(body), f"{what}: {sent}"
        assert request["headers"]["content-type"].split(";")[0] == "application/json"
        return answer

    def first(wanted, ends):
        return next(call for call in made if call[0] == wanted and (len(call[1].split("/")) == ends))

    begun = same("create", first("POST", 4), lambda body: client_of.create_conversation(ConversationParameters.deserialize(body)))
    assert begun.id == f"{BOT['channel']};messageid={begun.activity_id}", begun
    reply, edit = first("POST", 6), first("PUT", 7)
    thread = unquote(reply[1].split("/")[4])
    said = same("reply", reply, lambda body: client_of.send_to_conversation(thread, Activity.deserialize(body)))
    assert said.id
    about, id = (unquote(edit[1].split("/")[at]) for at in (4, 6))
    shown = same("update", edit, lambda body: client_of.update_activity(about, id, Activity.deserialize(body)))
    assert shown.id == id
    for thread, code in [("19:elsewhere@thread.tacv2;messageid=1", "ConversationNotFound"), (BOT["channel"], "ConversationNotFound")]:
        try:
            client_of.send_to_conversation(thread, Activity.deserialize(activity_of(reply[2])))
            raise AssertionError(f"{thread} is no thread")
        except ErrorResponseException as error:
            assert error.error.error.code == code, error.error


def is_let_in(world, activity, token):
    """By the official validation."""
    ChannelValidation.open_id_metadata_endpoint = f"{world.at['teams']}v1/.well-known/openidconfiguration"
    credentials = SimpleCredentialProvider(BOT["app"], "")
    activity = Activity.deserialize(activity)
    # Not the way around it that lets the emulator in.
    check = ChannelValidation.authenticate_channel_token_with_service_url(f"Bearer {token}", credentials, activity.service_url, activity.channel_id)
    try:
        return asyncio.run(check).is_authenticated
    except Exception as error:
        wrong = isinstance(error, (ImportError, AttributeError, OSError)) and not isinstance(error, PermissionError)
        assert not wrong, error
        return False


def doors(world):
    """Tokens of every kind: the official validation and our door say the same."""
    # Nothing of ours: whoever is let in changes nothing.
    said = world.control("teams") | {"type": "message", "text": "hello"}
    service, now = said["serviceUrl"], int(time.time())
    good = {"serviceurl": service}
    cases = [
        ("good", said, bot_token(good), True),
        ("expired within the skew", said, bot_token(good | {"exp": now - 200}), True),
        ("begins within the skew", said, bot_token(good | {"nbf": now + 200}), True),
        ("expired", said, bot_token(good | {"exp": now - 400}), False),
        ("not yet", said, bot_token(good | {"nbf": now + 500}), False),
        ("another issuer", said, bot_token(good | {"iss": "https://sts.windows.net/d6d49420-f39b-4df7-a1dc-d59a935871db/"}), False),
        ("another audience", said, bot_token(good | {"aud": BOT["tenant"]}), False),
        ("no audience", said, bot_token(good | {"aud": None}), False),
        ("no service address", said, bot_token({}), False),
        ("another service address", said, bot_token({"serviceurl": "https://smba.trafficmanager.net/emea/"}), False),
        ("another address in the activity", said | {"serviceUrl": "https://smba.trafficmanager.net/emea/"}, bot_token(good), False),
        ("a channel that the key is not endorsed for", said | {"channelId": "webchat"}, bot_token(good), False),
        ("a key that is not for Teams", said, bot_token(good, key_id="other"), False),
        ("a key that is not known", said, bot_token(good, key_id="nobody's"), False),
        ("signed with a secret", said, bot_token(good, key="s" * 64, algorithm="HS256"), False),
        ("not signed", said, bot_token(good, key=None, algorithm="none"), False),
        ("another payload", said, ".".join([bot_token(good).split(".")[0], bot_token(good | {"exp": now + 9000}).split(".")[1], bot_token(good).split(".")[2]]), False),
        ("no token", said, "nonsense", False),
    ]
    for what, activity, token, wanted in cases:
        official = is_let_in(world, activity, token)
        assert official == wanted, f"{what}: the official validation says {official}"
        status, body = world.teams(activity, token)
        # 503: a key that is not known is asked for once a minute.
        assert status == 200 if wanted else status in (401, 403, 503), f"{what}: our door answered {status} {body[:200]}"
    return len(cases)


def clicks(world, made):
    """A pressed button as the official models read it, and our answer as they do."""
    cards = {unquote(path.split("/")[6]): activity_of(body)["attachments"][0]["content"] for method, path, body in made if method == "PUT"}
    pressed = 0
    for id, card in cards.items():
        verbs = [action["verb"] for action in card.get("actions", []) if action["type"] == "Action.Execute"]
        for verb in verbs[:1]:
            activity = world.control(f"teams?id={id}&verb={verb}&person={BOT['approver']}")
            if not activity:
                continue
            whole(Activity, activity)
            whole(AdaptiveCardInvokeValue, {"action": {name: activity["value"]["action"][name] for name in ("type", "verb", "data")}})
            status, body = world.teams(activity | {"from": activity["from"] | {"aadObjectId": BOT["tenant"], "id": "29:stranger"}})
            answer = json.loads(body)
            # A text: the model takes cards alone.
            assert (status, answer["statusCode"], answer["type"]) == (200, 200, "application/vnd.microsoft.activity.message"), body
            assert isinstance(answer["value"], str), body
            status, body = world.teams(activity)
            answer = whole(AdaptiveCardInvokeResponse, json.loads(body))
            assert (status, answer.status_code, answer.type) == (200, 200, CARD), body
            pressed += 1
            yield answer.value
        if pressed >= 3:
            return
    assert pressed, "no button was pressed"


def check(world, mutant):
    made = list(calls(world))
    kinds = {(method, len(path.split("/"))) for method, path, _ in made}
    assert {("POST", 4), ("POST", 6), ("PUT", 7)} <= kinds and len(made) >= 20, f"the program posted too little: {kinds}"
    cards = [activity_of(body)["attachments"][0]["content"] for _, _, body in made]
    assert any("entities" in card["msteams"] for card in cards), "nobody was mentioned"
    if mutant:
        activity_of(made[0][2])["sumary"] = "x"
        for broken in (lambda: models(made),
                       lambda: node("parts/teams.mjs", {"cards": [cards[0] | {"version": "1.0"}], "types": []}),
                       lambda: node("parts/teams.mjs", {"cards": [], "types": [cards[0] | {"actions": [{"type": "Action.OpenUrl", "url": 7}]}]})):
            try:
                broken()
            except AssertionError as error:
                found = error
            else:
                return "something broken was taken"
        raise found
    models(made)
    whole(Activity, world.control("teams"))
    conversation(world, made)
    count = doors(world)
    cards += list(clicks(world, made))
    status, _ = call(f"{world.url}/teams/messages", "POST", {})
    assert status in (400, 401), status
    said = node("parts/teams.mjs", {"cards": cards, "types": cards})
    return f"{said}, {len(made)} calls by the client's models, a conversation of the client, {count} kinds of tokens"
