// The table of all runs, and some of them beside each other.
import { ask, badge, el, link, number, percent, problem, runPath, show, title } from "./dom.js";
import { chart, legend } from "./charts.js";

const COLUMNS = [
  ["id", "run", (run) => title(run.id)], ["began", "began", (run) => new Date(run.began * 1000).toLocaleString("sv").slice(0, 16)],
  ["state", "state", (run) => badge(run.state)], ["task", "task", (run) => run.task || "–"], ["clients", "clients", (run) => number(run.clients)],
  ["scheme", "scheme", (run) => run.scheme || "–"], ["privacy", "privacy", (run) => run.privacy || "none"],
  ["rounds_done", "rounds", (run) => `${run.rounds_done}/${run.rounds || "?"}`], ["accuracy", "accuracy", (run) => percent(run.accuracy)],
  ["seconds", "seconds", (run) => number(run.seconds, 1)], ["kib", "KiB up", (run) => number(run.kib)], ["epsilon", "ε", (run) => number(run.epsilon, 2)],
];
const TEXT = new Set(["id", "began", "state", "task", "scheme", "privacy"]);
const order = { by: "began", down: true };
const chosen = new Set();

export async function runs() {
  const table = el("div", { cls: "card scroll", tabindex: "0", role: "region", "aria-label": "All runs" });
  const button = el("a", { cls: "button", role: "link" });
  const state = el("p", { cls: "muted small", role: "status" });
  show(el("h1", {}, "Runs"), state, el("div", { cls: "row" }, button, el("span", { cls: "muted small" }, "Tick two or more runs to compare them.")), el("p"), table);
  let rows = [], before = "";
  const draw = () => {
    before = JSON.stringify([rows, order]);
    table.replaceChildren(rows.length ? drawn(rows, draw, choose) : el("p", { cls: "muted" }, "There is no run yet. ", el("a", { href: link("start") }, "Start one"), "; it shows here while it runs."));
    choose();
  };
  const choose = () => {
    const ids = rows.map((run) => run.id).filter((id) => chosen.has(id));
    button.textContent = ids.length < 2 ? "Compare" : `Compare ${ids.length} runs`;
    if (ids.length < 2) { button.removeAttribute("href"); button.setAttribute("aria-disabled", "true"); }
    else { button.href = link("compare", ...ids); button.removeAttribute("aria-disabled"); }
  };
  const load = async () => {
    try {
      rows = (await ask("/api/runs")).runs;
      state.textContent = "";
      if (before !== JSON.stringify([rows, order]) && !table.contains(document.activeElement)) draw();
      else if (before !== JSON.stringify([rows, order])) refresh(table, rows);
    } catch { state.textContent = "The dashboard does not answer; trying again."; }
  };
  rows = (await ask("/api/runs")).runs;
  draw();
  const timer = setInterval(load, 2000);
  return () => clearInterval(timer);
}

// What changes while the keyboard's focus is in the table must not take the focus away.
function refresh(table, rows) {
  for (const run of rows) {
    const row = [...table.querySelectorAll("tbody tr")].find((each) => each.dataset.id === run.id);
    COLUMNS.forEach(([key, , value], place) => { if (row && key !== "id") row.children[place].replaceChildren(value(run)); });
  }
}

function drawn(rows, draw, choose) {
  const sorted = rows.toSorted((a, b) => compareBy(a[order.by], b[order.by]) * (order.down ? -1 : 1));
  const head = COLUMNS.map(([key, name]) => el("th", { scope: "col", cls: TEXT.has(key) ? "text" : "", "aria-sort": order.by === key ? (order.down ? "descending" : "ascending") : null },
    el("button", { type: "button", "data-key": key, onclick: () => { order.down = order.by === key ? !order.down : true; order.by = key; draw(); document.querySelector(`button[data-key=${key}]`).focus(); } },
      name, order.by === key ? (order.down ? " ↓" : " ↑") : "")));
  const body = sorted.map((run) => el("tr", { "data-id": run.id }, COLUMNS.map(([key, name, value]) => key === "id" ? nameCell(run, choose)
    : el("td", { cls: TEXT.has(key) ? "text" : "", "data-label": name }, value(run)))));
  return el("table", { cls: "runs" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body));
}

function nameCell(run, choose) {
  const box = el("input", { type: "checkbox", "aria-label": `compare ${title(run.id)}`, checked: chosen.has(run.id),
    onchange: (event) => { event.target.checked ? chosen.add(run.id) : chosen.delete(run.id); choose(); } });
  return el("td", { cls: "name" }, box, " ", el("a", { href: link("live", run.id) }, title(run.id)));
}

function compareBy(a, b) {
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

// ------------------------------------------------------------------------------------------------ comparing

const AXES = {
  rounds: (row) => row.round, seconds: (row, sum) => sum.seconds, "KiB sent": (row, sum) => sum.bytes / 1024, epsilon: (row) => row.epsilon ?? NaN,
  "simulated seconds": (row) => row.simulated_total_s ?? NaN,
};
const CURVES = { accuracy: (value) => `${(100 * value).toFixed(1)}%`, loss: (value) => value.toFixed(3) };

export async function compare(...ids) {
  const details = await Promise.all(ids.map((id) => ask(runPath(id))));
  let axis = "rounds";
  const charts = el("div", { cls: "grid two" });
  const draw = () => charts.replaceChildren(...Object.keys(CURVES).map((name) => el("section", { cls: "card" }, el("h2", {}, name),
    chart({ series: details.map((run) => ({ name: title(run.id), points: curve(run, name, axis) })), xLabel: axis, yLabel: name, format: CURVES[name], height: 280 }),
    legend(details.map((run) => title(run.id))))));
  const timed = details.some((run) => run.history.some((row) => row.simulated_total_s));
  const choice = el("fieldset", {}, el("legend", {}, "over"), Object.keys(AXES).filter((name) => timed || name !== "simulated seconds").map((name) => el("label", {},
    el("input", { type: "radio", name: "axis", checked: name === axis, onchange: () => { axis = name; draw(); } }), ` ${name}`)));
  draw();
  show(el("h1", {}, `${ids.length} runs compared`), el("p", {}, choice), charts, el("p"), el("section", { cls: "card" }, el("h2", {}, "What differs in the settings"),
    el("div", { cls: "scroll", tabindex: "0", role: "region", "aria-label": "Settings" }, differences(details))));
}

function curve(run, name, axis) {
  const sum = { seconds: 0, bytes: 0 };
  return run.history.map((row) => {
    sum.seconds += row.round_s || 0;
    sum.bytes += (row.bytes_up_per_client || 0) * (row.contributors || 0);
    return [AXES[axis](row, sum), row[name]];
  });
}

function differences(details) {
  const names = [...new Set(details.flatMap((run) => Object.keys(run.settings)))].sort();
  const rows = names.map((name) => [name, details.map((run) => said(run.settings[name]))]);
  const last = (run, name) => run.history.at(-1)?.[name];
  const results = [["accuracy", details.map((run) => percent(last(run, "accuracy")))], ["seconds", details.map((run) => number(run.seconds, 1))],
    ["simulated seconds", details.map((run) => number(last(run, "simulated_total_s")))], ["KiB up", details.map((run) => number(run.kib))], ["epsilon", details.map((run) => number(last(run, "epsilon"), 2))]];
  const different = rows.filter(([, values]) => new Set(values).size > 1), same = rows.filter(([, values]) => new Set(values).size === 1);
  const line = (cls) => ([name, values]) => el("tr", { cls }, el("td", {}, name), values.map((value) => el("td", {}, value)));
  return [el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "setting"), details.map((run) => el("th", { scope: "col" }, title(run.id))))),
    el("tbody", {}, different.map(line("differs")), results.map(line("")))),
    same.length ? el("p", { cls: "muted small" }, `The same in all: ${same.map(([name, values]) => `${name} ${values[0]}`).join(", ")}.`) : null];
}

const said = (value) => (value === undefined || value === null ? "–" : String(value));
