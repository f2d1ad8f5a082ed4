// What each party does now and did before: a lane for each, of many clients in columns; and how many clients do what.
import { el, number } from "./dom.js";

const CLASSES = {
  away: "away", here: "here", starting: "here", training: "training", committed: "committed", uploading: "uploading", uploaded: "uploaded",
  "left out": "gone", gone: "gone", declined: "gone", "checking the list": "training", "signed the list": "committed",
  opening: "opening", opened: "opened", "checking the model": "opening", endorsed: "opened",
};
const WORDS = {
  away: "not here", here: "waiting", "checking the list": "checking list", "signed the list": "signed list", "checking the model": "checking model",
};
const LEGEND = [["training", "training, checking"], ["committed", "committed, signed"], ["uploading", "uploading"], ["uploaded", "uploaded"], ["opening", "opening"], ["opened", "opened, endorsed"], ["here", "waiting"], ["gone", "gone, left out"], ["away", "not here"]];
const MANY = 40;
const kindOf = (doing) => CLASSES[doing] || "here";

export class Lanes {
  constructor() {
    this.counts = new Map(LEGEND.map(([kind]) => [kind, el("b")]));
    this.legend = el("ul", { cls: "legend", "aria-label": "colours, and how many clients have each" },
      LEGEND.map(([kind, words]) => el("li", {}, el("span", { cls: `dot s-${kind}`, "aria-hidden": "true" }), `${words} `, this.counts.get(kind))));
    this.none = el("p", { cls: "muted" }, "No parties yet.");
    this.holders = el("ul", { cls: "lanes", "aria-label": "key holders" });
    this.clients = el("ul", { cls: "lanes", "aria-label": "clients" });
    this.element = el("section", { cls: "card" }, el("h2", {}, "Parties"), this.legend, this.none, this.holders, this.clients);
    this.rows = new Map();
  }

  explain(sentence) { this.none.textContent = sentence; }

  // Parties by name, each with its role, what it does, and its history; now and the end of the lanes in seconds.
  draw(parties, now, end) {
    this.arrange(parties);
    const counted = new Map();
    for (const party of parties.values()) if (party.role === "client") counted.set(kindOf(party.doing), (counted.get(kindOf(party.doing)) || 0) + 1);
    for (const [kind, shown] of this.counts) shown.textContent = counted.has(kind) ? number(counted.get(kind)) : "";
    const widths = [...this.rows.values()].map((row) => row.canvas.clientWidth || 200);  // all read before anything is changed
    const colours = getComputedStyle(document.documentElement), ink = new Map(LEGEND.map(([kind]) => [kind, colours.getPropertyValue(`--s-${kind}`)]));
    [...this.rows].forEach(([name, row], place) => drawLane(row, parties.get(name), widths[place], now, Math.max(end, 0.1), ink));
  }

  arrange(parties) {
    const names = [...parties.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    if (names.join("\n") === this.named) return;
    this.named = names.join("\n");
    this.rows = new Map(names.map((name) => [name, lane(name)]));
    const of = (client) => names.filter((name) => (parties.get(name).role === "client") === client).map((name) => this.rows.get(name).item);
    this.none.hidden = names.length > 0;
    this.holders.replaceChildren(...of(false));
    this.clients.replaceChildren(...of(true));
    this.clients.classList.toggle("many", this.clients.children.length > MANY);
  }
}

function drawLane(row, party, width, now, end, ink) {
  const doing = WORDS[party.doing] || party.doing;
  row.dot.className = `dot s-${kindOf(party.doing)}`;
  row.doing.textContent = row.doing.title = doing;
  row.refused.textContent = party.refused ? ` refused: ${party.refused}` : "";
  row.item.classList.toggle("trouble", kindOf(party.doing) === "gone" || Boolean(party.refused));
  const height = row.canvas.height = 16;
  row.canvas.width = width;
  const context = row.canvas.getContext("2d");
  party.history.forEach((part, place) => {
    const from = (part.from / end) * width, to = ((party.history[place + 1]?.from ?? now) / end) * width;
    context.fillStyle = ink.get(kindOf(part.doing));
    context.fillRect(from, 0, Math.max(to - from, 1), height);
  });
}

function lane(name) {
  const row = { dot: el("span", { cls: "dot", "aria-hidden": "true" }), doing: el("span", { cls: "word" }), refused: el("span", { cls: "refused" }), canvas: el("canvas", { "aria-hidden": "true" }) };
  row.item = el("li", {}, el("span", { cls: "who", title: name }, name), row.canvas, el("span", { cls: "doing" }, row.dot, row.doing, row.refused));
  return row;
}
