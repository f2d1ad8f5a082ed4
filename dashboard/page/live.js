// One run while it goes on, or replayed: the state at a moment follows from all that an observer was told before.
import { ask, badge, el, link, number, percent, runPath, show, title } from "./dom.js";
import { chart } from "./charts.js";
import { Lanes } from "./lanes.js";

const FRAME = 120;
const POLL = 1000;
const ENDED = new Set(["stopped", "failed", "unreadable"]);

class State {
  constructor() { this.seconds = 0; this.parties = new Map(); this.results = new Map(); this.calls = new Map(); this.now = {}; this.lost = ""; this.run = null; }

  take(event) {
    this.seconds = event.seconds;
    this.lost = event.lost || "";
    if (event.lost) return;
    if (this.run !== null && event.run !== this.run) { this.results.clear(); this.calls.clear(); }
    this.run = event.run;
    this.now = event;
    for (const party of event.parties) {
      const lane = this.parties.get(party.name) || { role: party.role, history: [] };
      if (lane.history.at(-1)?.doing !== party.doing) lane.history.push({ from: event.seconds, doing: party.doing });
      lane.doing = party.doing;
      lane.refused = party.refused;
      this.parties.set(party.name, lane);
    }
    for (const result of event.results) this.results.set(result.round, result);
    for (const [name, count] of Object.entries(event.calls)) this.calls.set(name, count);
  }

  // An aggregator whose run is over may go away without any loss.
  get over() { return ["finished", "failed"].includes(this.now.phase) || (this.now.rounds > 0 && this.results.size >= this.now.rounds); }
  get away() { return Boolean(this.lost) && !this.over; }

  static at(events, seconds) {
    const state = new State();
    for (const event of events) { if (event.seconds > seconds) break; state.take(event); }
    return state;
  }
}

export async function live(id) {
  const { runs } = await ask("/api/runs");
  const chosen = id || runs.find((run) => run.state === "running")?.id || runs[0]?.id;
  if (!chosen) { show(el("h1", {}, "Live"), el("p", {}, "There is no run yet. ", el("a", { href: link("start") }, "Start one"), ".")); return () => {}; }
  if (!runs.some((run) => run.id === chosen)) return waitFor(chosen);
  const view = new View(chosen, runs.find((run) => run.id === chosen), runs);
  await view.begin();
  return () => view.end();
}

// A run that was just started has no folder yet.
function waitFor(id) {
  show(el("h1", {}, title(id)), el("p", { role: "status" }, `There is no run ${id} yet; it shows here when it begins.`));
  let view = null;
  const timer = setInterval(async () => {
    const { runs } = await ask("/api/runs").catch(() => ({ runs: [] })), found = runs.find((run) => run.id === id);
    if (!found || view) return;
    clearInterval(timer);
    view = new View(id, found, runs);
    await view.begin();
  }, 500);
  return () => { clearInterval(timer); view?.end(); };
}

class View {
  constructor(id, summary, runs) {
    this.id = id; this.summary = summary || { state: "", has_events: true }; this.events = []; this.state = new State();
    this.following = true; this.playing = null; this.frame = null; this.runs = runs; this.lanes = new Lanes(); this.arrived = 0;
  }

  async begin() {
    this.build();
    if (this.summary.way === "virtual") { await this.followVirtual(); return; }
    if (!this.summary.has_events && this.summary.state !== "running") { await this.withoutEvents(); return; }
    if (this.summary.state !== "running" && this.id !== "@server") { await this.replay(); return; }
    this.listen();
    this.clock = setInterval(() => this.countDown(), 250);
  }

  end() { this.source?.close(); clearInterval(this.clock); clearInterval(this.playing); clearInterval(this.polling); clearTimeout(this.frame); }

  listen() {
    this.source = new EventSource(runPath(this.id, "/events"));
    this.source.onmessage = (message) => this.take(JSON.parse(message.data));
    this.source.onopen = () => this.say("");
    this.source.onerror = () => this.say("The dashboard does not answer; trying again.");
    this.source.addEventListener("end", () => { this.source.close(); clearInterval(this.clock); this.finish(); });
  }

  async finish() {
    try { this.summary = await ask(runPath(this.id)); } catch { return; }
    this.parts.badge.replaceChildren(badge(this.summary.state));
    this.draw();
  }

  async replay() {
    for (let after = 0; ;) {
      const page = await ask(runPath(this.id, `/events?after=${after}`));
      this.events.push(...page.events);
      if (!page.events.length) break;
      after = page.next;
    }
    this.state = State.at(this.events, Infinity);
    this.draw();
  }

  async withoutEvents() {
    const detail = this.summary = await ask(runPath(this.id));
    for (const row of detail.history) this.state.results.set(row.round, { ...row, seconds: row.round_s });
    this.state.now = { phase: detail.state, round: detail.rounds_done, rounds: detail.rounds, message: detail.message };
    this.parts.player.remove();
    if (detail.way !== "virtual") this.say("This run kept no record of its parties, only of its rounds.");
    this.draw();
  }

  // No process plays a virtual client: there are rounds to show, and no parties.
  async followVirtual() {
    this.lanes.explain("Virtual clients have no lanes: one program plays them all, a few at a time.");
    await this.withoutEvents();
    if (this.summary.state !== "running") return;
    this.polling = setInterval(async () => {
      try { await this.withoutEvents(); this.say(""); } catch { this.say("The dashboard does not answer; trying again."); return; }
      this.parts.badge.replaceChildren(badge(this.summary.state));
      if (this.summary.state !== "running") clearInterval(this.polling);
    }, POLL);
  }

  take(event) {
    this.events.push(event);
    this.arrived = performance.now();
    if (!this.following) { this.limit(); return; }
    this.state.take(event);
    this.frame = this.frame || setTimeout(() => { this.frame = null; this.draw(); }, FRAME);
  }

  build() {
    const parts = this.parts = {
      badge: el("span"), message: el("p", { cls: "muted", role: "status" }), figures: el("dl", { cls: "figures" }),
      accuracy: el("div"), loss: el("div"), calls: el("dl", { cls: "bars" }), said: el("p", { cls: "small", role: "status" }),
      range: el("input", { type: "range", min: 0, max: 0, step: 0.01, value: 0, "aria-label": "moment of the run, in seconds", oninput: () => this.seek(Number(this.parts.range.value)) }),
      time: el("output"), play: el("button", { type: "button", cls: "button plain", onclick: () => this.play() }, "Replay"),
      follow: el("button", { type: "button", cls: "button plain", onclick: () => this.follow() }, "Newest"),
    };
    parts.badge.append(badge(this.summary.state || "running"));
    parts.player = el("div", { cls: "player" }, parts.play, parts.range, parts.time, parts.follow);
    const other = el("label", { cls: "inline" }, el("span", { cls: "muted small" }, "another run "), el("select", { onchange: (event) => { location.hash = link("live", event.target.value); } },
      this.runs.map((run) => el("option", { value: run.id, selected: run.id === this.id }, title(run.id)))));
    show(el("div", { cls: "row" }, el("h1", {}, title(this.id)), parts.badge, el("a", { href: link("saw", this.id), cls: "small" }, "what the aggregator saw"), other),
      parts.message, parts.said, parts.player, parts.figures,
      el("div", { cls: "grid live" }, el("div", { cls: "grid" }, this.lanes.element,
          el("section", { cls: "card calls" }, el("h2", {}, "Messages to the aggregator, by name"), parts.calls)),
        el("div", { cls: "grid" }, el("section", { cls: "card" }, el("h2", {}, "Accuracy"), parts.accuracy), el("section", { cls: "card" }, el("h2", {}, "Loss"), parts.loss))));
  }

  say(sentence) { this.parts.said.textContent = sentence; }
  // Whether the end of a run is shown that ended before its time: what it was waiting for is no news any more.
  get ended() { return this.id !== "@server" && ENDED.has(this.summary.state) && this.state.seconds >= this.length; }
  get length() { return this.events.at(-1)?.seconds || 0; }
  limit() { this.parts.range.max = this.length; }
  seek(seconds) { this.following = false; this.state = State.at(this.events, seconds); this.draw(); }
  follow() { this.stop(); this.following = true; this.state = State.at(this.events, Infinity); this.draw(); }
  stop() { clearInterval(this.playing); this.playing = null; this.parts.play.textContent = "Replay"; }

  play() {
    if (this.playing) { this.stop(); return; }
    let at = this.state.seconds >= this.length - 0.01 ? 0 : this.state.seconds;
    const step = Math.max(this.length / 30 / 10, 0.02);
    this.parts.play.textContent = "Pause";
    this.playing = setInterval(() => { at += step; this.seek(Math.min(at, this.length)); if (at >= this.length) this.stop(); }, 100);
  }

  // -------------------------------------------------------------------------------- drawing

  draw() {
    const { state, parts } = this;
    this.limit();
    parts.range.value = state.seconds;
    parts.range.setAttribute("aria-valuetext", `${number(state.seconds, 1)} seconds`);
    parts.time.textContent = `${number(state.seconds, 1)} of ${number(this.length, 1)} s`;
    parts.message.textContent = this.ended ? this.summary.message : state.away ? `The aggregator is away: ${state.lost}` : state.now.message || "";
    if (this.id === "@server") parts.badge.replaceChildren(badge(state.away ? "away" : state.lost && state.now.phase !== "failed" ? "finished" : state.now.phase || "waiting"));
    this.drawFigures();
    this.lanes.draw(state.parties, state.seconds, this.following ? state.seconds : this.length);
    const rows = [...state.results.values()];
    parts.accuracy.replaceChildren(chart({ series: [{ name: "accuracy", points: rows.map((row) => [row.round, row.accuracy]) }], xLabel: "round", yLabel: "", format: (value) => `${(100 * value).toFixed(1)}%`, height: 170 }));
    parts.loss.replaceChildren(chart({ series: [{ name: "loss", points: rows.map((row) => [row.round, row.loss]) }], xLabel: "round", yLabel: "", format: (value) => value.toFixed(3), height: 150 }));
    this.drawCalls();
  }

  drawFigures() {
    const { now, results } = this.state, rows = [...results.values()], last = rows.at(-1);
    const sent = rows.reduce((sum, row) => sum + (row.bytes_up_per_client || 0) * (row.contributors || 0), 0) / 1024;
    const budget = now.epsilon_budget ? ` of ${number(now.epsilon_budget, 1)}` : "";
    this.parts.left = el("dd", {}, "–");
    const figures = [["round", el("dd", {}, `${now.round ?? "–"}`, el("small", {}, ` of ${now.rounds ?? "–"}${now.attempt > 1 ? `, attempt ${now.attempt}` : ""}`))],
      ["phase", el("dd", {}, this.ended ? this.summary.state : now.phase || "–")], ["deadline", this.parts.left], ["accuracy", el("dd", {}, percent(last?.accuracy))], ["loss", el("dd", {}, number(last?.loss, 3))],
      ["KiB up", el("dd", {}, number(sent))], ["ε spent", el("dd", {}, last?.epsilon ? number(last.epsilon, 2) : "none", el("small", {}, last?.epsilon ? budget : ""))]];
    if (last?.simulated_total_s) figures.push(["simulated seconds", el("dd", {}, number(last.simulated_total_s))]);
    this.parts.figures.replaceChildren(...figures.map(([name, value]) => el("div", {}, el("dt", {}, name), value)));
    this.countDown();
  }

  countDown() {
    if (!this.parts.left) return;
    const passed = this.following && this.source ? (performance.now() - this.arrived) / 1000 : 0;
    const left = this.state.now.seconds_left && !this.ended ? Math.max(0, this.state.now.seconds_left - passed) : null;
    this.parts.left.textContent = left === null ? "none" : `${number(left)} s`;
  }

  drawCalls() {
    const calls = [...this.state.calls].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])), most = Math.max(1, ...calls.map(([, count]) => count));
    this.parts.calls.replaceChildren(...calls.flatMap(([name, count]) => {
      const bar = el("span", { cls: "bar", "aria-hidden": "true" });
      bar.style.width = `${(100 * count) / most}%`;
      return [el("dt", {}, name), el("dd", {}, bar), el("dd", {}, number(count))];
    }));
  }
}
