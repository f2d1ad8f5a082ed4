// Start a run, see what it would cost, follow it, stop it.
import { about, ask, badge, el, link, number, problem, runPath, send, show } from "./dom.js";

const FIELDS = [
  ["task", "Task", "what to learn"], ["clients", "Clients", "2 to 100"], ["rounds", "Rounds", "1 to 100"], ["scheme", "Scheme", "plain encrypts nothing"],
  ["key_bits", "Key bits", "2048 to 4096, a multiple of 16"], ["noise", "Noise multiplier", "0: no privacy; 1 is much"], ["seed", "Seed", "the same seed gives the same model"],
];
const DEFAULTS = { task: "spam", clients: 5, rounds: 5, scheme: "paillier", key_bits: 2048, noise: 0, seed: 0 };

export async function start() {
  const known = await about();
  if (!known.may_start) {
    show(el("h1", {}, "Start a run"), el("p", { cls: "note" }, "Runs can be started from this page on its own machine only, or with an access token: start the dashboard with --token."));
    return () => {};
  }
  const fields = Object.fromEntries(FIELDS.map(([name]) => [name, input(name, known)]));
  const token = known.needs_access_token ? el("input", { type: "password", autocomplete: "off" }) : null;
  const costs = el("div", { cls: "card", role: "status" }, el("h2", {}, "What it would cost"), el("p", { cls: "muted" }, "Not computed yet."));
  const trouble = el("div"), list = el("div", { cls: "grid" });
  const wanted = () => Object.fromEntries(FIELDS.map(([name]) => [name, typeof DEFAULTS[name] === "number" ? Number(fields[name].value) : fields[name].value]));
  const attempt = async (work) => { try { trouble.replaceChildren(); await work(); } catch (error) { trouble.replaceChildren(problem(error)); } };
  const cost = () => attempt(async () => {
    costs.replaceChildren(el("h2", {}, "What it would cost"), el("p", { cls: "muted" }, "Computing …"));
    costs.replaceChildren(el("h2", {}, "What it would cost"), figures(await send("/api/dry-run", wanted(), token?.value)));
  });
  const go = () => attempt(async () => { await send("/api/runs", wanted(), token?.value); await follow(); });
  const form = el("form", { cls: "settings", onsubmit: (event) => { event.preventDefault(); go(); } },
    FIELDS.map(([name, label, hint]) => el("label", { cls: "field" }, label, fields[name], el("small", {}, hint))),
    token ? el("label", { cls: "field" }, "Access token", token, el("small", {}, "that the dashboard was started with")) : null,
    el("div", { cls: "row" }, el("button", { cls: "button", type: "submit" }, "Start"), el("button", { cls: "button plain", type: "button", onclick: cost }, "What would it cost?")));
  const follow = async () => {
    const { started } = await ask("/api/started");
    const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    list.replaceChildren(...started.map((run) => item(run, (id) => attempt(async () => { await send(runPath(id, "/stop"), {}, token?.value); }))));
    if (focused) ([...list.querySelectorAll("[aria-label]")].find((each) => each.getAttribute("aria-label") === focused) || document.getElementById("main")).focus({ preventScroll: true });
  };
  show(el("h1", {}, "Start a run"), el("p", { cls: "muted" }, "A whole federation on this machine, with made-up data: all parties are processes here."), trouble,
    el("div", { cls: "grid two" }, el("section", { cls: "card" }, form), costs), el("p"), list);
  await follow();
  const timer = setInterval(() => follow().catch(() => {}), 1000);
  return () => clearInterval(timer);
}

function input(name, known) {
  const choices = { task: known.tasks, scheme: known.schemes }[name];
  if (choices) return el("select", {}, choices.map((each) => el("option", { value: each, selected: each === DEFAULTS[name] }, each)));
  return el("input", { type: "number", value: DEFAULTS[name], min: 0, step: name === "noise" ? 0.1 : 1, required: true });
}

function figures(answer) {
  if (!answer.available) return el("p", { cls: "muted" }, `Not known: ${answer.why}.`);
  const rows = Object.entries(answer.figures).filter(([, value]) => value === null || typeof value !== "object");
  const warnings = Array.isArray(answer.figures.warnings) ? answer.figures.warnings : [];
  return el("div", {}, warnings.map((each) => el("p", { cls: "small" }, String(each))), el("table", {}, el("tbody", {}, rows.map(([name, value]) => el("tr", {}, el("td", {}, name.replaceAll("_", " ")), el("td", {}, typeof value === "number" ? number(value, Number.isInteger(value) ? 0 : 2) : value === null ? "–" : String(value)))))));
}

function item(run, stop) {
  const state = run.running ? "running" : run.exit_code === 0 ? "finished" : "stopped";
  return el("section", { cls: "card" }, el("div", { cls: "row" }, el("a", { href: link("live", run.id) }, run.id), badge(state),
    run.running ? el("button", { type: "button", cls: "button plain", "aria-label": `stop ${run.id}`, onclick: () => stop(run.id) }, "Stop") : null), el("pre", { cls: "log", tabindex: "0", role: "region", "aria-label": `output of ${run.id}` }, run.lines.join("\n")));
}
