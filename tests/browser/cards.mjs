// Every real card by the official package: parsed without any event at the version that it declares, and rendered so that people
// read each text as it was written. A card that is broken on purpose must be noticed.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { play } from "./kit.mjs";

await play(async (stage, settings) => {
  const cards = JSON.parse(readFileSync(settings.cards, "utf8"));
  const page = await stage.visit(settings.page);
  await page.addScriptTag({ path: join(settings.tools, "node_modules/adaptivecards/dist/adaptivecards.min.js") });
  const judge = (card) =>
    page.evaluate((card) => {
      const { AdaptiveCard, HostConfig, SerializationContext, Version } = globalThis.AdaptiveCards;
      const version = Version.parse(card.version, new SerializationContext());
      const context = new SerializationContext(version);
      const parsed = new AdaptiveCard();
      // As Teams: six buttons, the rest in an overflow menu.
      parsed.hostConfig = new HostConfig({ actions: { maxActions: 6 } });
      const events = [];
      // The package knows no mentions: they stay texts here. Nothing else may stand where markup is read.
      AdaptiveCard.onProcessMarkdown = (text, result) => {
        const rest = (card.msteams?.entities ?? []).reduce((rest, mention) => rest.replace(mention.text, ""), text);
        if (rest.trim()) events.push(`a TextBlock that holds ${rest}`);
        result.outputHtml = text.replaceAll("<", "&lt;").replaceAll(">", "&gt;");
        result.didProcess = true;
      };
      parsed.parse(card, context);
      for (let index = 0; index < context.eventCount; index++) events.push(context.getEventAt(index).message);
      const found = parsed.validateProperties().validationEvents.map((event) => event.message);
      const rendered = parsed.render();
      document.body.replaceChildren(rendered);
      const marks = rendered.querySelectorAll("strong, em, ul, ol, at, img, script").length;
      return {
        events: events.concat(found),
        marks,
        text: rendered.textContent,
        buttons: [...rendered.querySelectorAll("button")].map((button) => button.textContent),
        width: rendered.scrollWidth - rendered.clientWidth,
      };
    }, card);
  const texts = (value) =>
    Array.isArray(value) ? value.flatMap(texts)
    : value && typeof value === "object"
      ? (value.type === "TextRun" ? [value.text] : []).concat(texts(value.body), texts(value.items), texts(value.inlines))
      : [];
  for (const { name, card, says } of cards) {
    stage.step(name);
    const seen = await judge(card);
    assert.deepEqual(seen.events, [], `${name} is parsed without any event`);
    for (const text of texts(card)) assert.ok(seen.text.includes(text), `${name} shows ${JSON.stringify(text)} as it is`);
    for (const text of says) assert.ok(seen.text.includes(text), `${name} shows ${JSON.stringify(text)}`);
    assert.equal(seen.marks, 0, `${name}: nothing in it became markup`);
    for (const action of card.actions ?? []) assert.ok(seen.buttons.includes(action.title), `${name} has the button ${action.title}`);
    stage.checked++;
  }
  stage.step("cards that are broken on purpose");
  const good = cards[0].card;
  const broken = [
    { ...good, body: [{ type: "Table", columns: [] }] },
    { ...good, body: [{ type: "Nonsense" }] },
    { ...good, actions: [{ type: "Action.Nonsense", title: "x" }] },
    { ...good, version: "1.2", actions: [{ type: "Action.Execute", title: "x", verb: "y" }] },
    { ...good, body: [{ type: "Container", style: "nonsense", items: [] }] },
    { ...good, body: [{ type: "TextBlock", text: "<at>nobody</at> *x*" }] },
  ];
  for (const card of broken) {
    const seen = await judge(card);
    assert.ok(seen.events.length > 0, `the parser notices ${JSON.stringify(card.body[0])} ${JSON.stringify(card.actions)}`);
    stage.checked++;
  }
});
