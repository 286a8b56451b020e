"""JIRA's documents by @atlaskit/adf-schema, bodies and answers by jira.js."""

import json

from world import node

MUTATION = "a bullet list without items in a description"


def bodies(world):
    for request in world.requests("jira"):
        if request["method"] in ("POST", "PUT") and request["body"] and not request["path"].endswith("/search/jql"):
            yield request, json.loads(request["body"])


def check(world, mutant):
    documents, create, comment = [], None, None
    for request, body in bodies(world):
        where = f"{request['method']} {request['path']}"
        if document := body.get("fields", {}).get("description"):
            documents.append({"where": where, "document": document})
        if "/comment" in request["path"] and isinstance(body.get("body"), dict):
            documents.append({"where": where, "document": body["body"]})
            comment = comment or body
        if request["path"].endswith("/issue"):
            create = create or body
    assert len(documents) >= 15 and create and comment, f"{len(documents)} documents, issue: {bool(create)}, comment: {bool(comment)}"
    edit = {"fields": {name: create["fields"][name] for name in ("summary", "description")}}
    if mutant:
        documents[0]["document"]["content"].append({"type": "bulletList", "content": []})
    settings = world.settings()
    return node("parts/jira.mjs", {
        "documents": documents, "create": create, "edit": edit, "comment": comment, "host": world.at["jira"].rstrip("/"),
        "email": settings["JIRA_USER_EMAIL"], "token": settings["JIRA_API_TOKEN"], "project": settings["JIRA_PROJECT_KEY"],
    })
