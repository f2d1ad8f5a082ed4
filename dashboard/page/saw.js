// What the aggregator saw: one client's update, the opened sum, and what the update gives away.
import { ask, el, link, number, runPath, show, title } from "./dom.js";

export async function saw(id, round) {
  const runs = (await ask("/api/runs")).runs.filter((run) => run.scheme || run.state === "running");
  const chosen = id || runs[0]?.id;
  if (!chosen) { show(el("h1", {}, "What the aggregator saw"), el("p", {}, "There is no run with an aggregator on this machine yet.")); return () => {}; }
  const detail = await ask(runPath(chosen));
  const last = Math.max(1, detail.rounds_done || 0), wanted = Number(round) || last;
  const body = el("div", {});
  const pick = (label, options, value, go) => el("label", { cls: "inline" }, el("span", { cls: "muted small" }, `${label} `),
    el("select", { onchange: (event) => { location.hash = go(event.target.value); } }, options.map(([key, words]) => el("option", { value: key, selected: key === value }, words))));
  show(el("h1", {}, "What the aggregator saw"),
    el("div", { cls: "row" }, pick("run", [...new Set([chosen, ...runs.map((run) => run.id)])].map((each) => [each, title(each)]), chosen, (value) => link("saw", value)),
      pick("round", Array.from({ length: last }, (_, place) => [place + 1, `${place + 1}`]), wanted, (value) => link("saw", chosen, value)),
      el("a", { href: link("live", chosen), cls: "small" }, "the run")),
    el("p", {}), body);
  const load = async () => { const seen = await ask(runPath(chosen, `/saw/${wanted}`)); body.replaceChildren(...drawn(seen)); return seen; };
  body.append(el("p", { cls: "muted" }, "Reading …"));
  const first = await load();
  if (detail.state !== "running" || (first.available && first.update.hex && first.opened)) return () => {};
  const timer = setInterval(() => load().catch(() => {}), 1500);
  return () => clearInterval(timer);
}

function drawn(seen) {
  if (!seen.available) return [el("p", { cls: "note" }, `Nothing to show: ${seen.why}.`)];
  const plain = seen.scheme === "plain";
  return [
    el("p", { cls: "note" }, plain ? "This run encrypted nothing, so the aggregator can read what each client sent." : `This run is encrypted (${seen.scheme}, ${seen.key_bits} bits). The aggregator stores and adds what it cannot read; only the sum of ${seen.contributors} clients was opened.`),
    el("div", { cls: "grid two" },
      el("section", { cls: "card" }, el("h2", {}, `The update of ${seen.client}, as it lies in the aggregator's database`), bytes(seen.update, seen.source), el("p", { cls: "muted small" }, `${seen.source}. SHA-256 ${seen.sha256.slice(0, 16)}…`)),
      el("section", { cls: "card" }, el("h2", {}, `The opened sum of ${seen.contributors} clients`), seen.opened ? bytes(seen.opened, "") : el("p", { cls: "muted" }, "Not opened yet."))),
    el("p"),
    el("div", { cls: "grid two" },
      el("section", { cls: "card" }, el("h2", {}, "Words that this one update gives away"), words(seen.update_words, "There are no bytes left to read.")),
      el("section", { cls: "card" }, el("h2", {}, "Words that the sum gives away"), words(seen.sum_words, "There is no opened sum."),
        el("p", { cls: "muted small" }, "The sum is exact: a word that any of these clients used can show in it. Encryption hides whose it is; only noise hides the word."))),
  ];
}

function bytes(content, source) {
  if (!content.hex) return el("p", { cls: "bytes" }, `${number(content.length)} bytes were here.\n${source.includes("deleted") ? "They are deleted." : ""}`);
  const per = innerWidth < 620 ? 8 : 16, pairs = content.hex.match(/../g), lines = [];
  for (let place = 0; place < pairs.length; place += per) {
    const part = pairs.slice(place, place + per);
    lines.push(`${place.toString(16).padStart(4, "0")}  ${part.join(" ")}`);
  }
  return el("div", {}, el("div", { cls: "bytes", tabindex: "0", role: "region", "aria-label": `the first ${pairs.length} bytes` }, lines.join("\n")),
    el("p", { cls: "small muted" }, `the first ${pairs.length} of ${number(content.length)} bytes`));
}

function words(read, nothing) {
  if (!read) return el("p", { cls: "muted" }, nothing);
  if (!read.read) return el("div", {}, el("p", { cls: "big" }, "nothing"), el("p", { cls: "muted" }, `${read.why}.`));
  return el("div", {}, el("p", { cls: "big" }, `${number(read.named)} words`), el("p", { cls: "muted small" }, `${number(read.count)} of ${number(read.of)} weights moved. Named by other people's mail, those that moved furthest first; orange towards spam, green towards ham:`),
    el("ul", { cls: "words" }, read.words.map((each) => el("li", { cls: each.spam ? "spam" : "ham" }, each.word))));
}
