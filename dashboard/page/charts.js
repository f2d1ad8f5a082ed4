// A line chart as SVG: nothing but two axes, the lines, and a sentence for those who cannot see it.
import { el } from "./dom.js";

const LEFT = 52, RIGHT = 14, TOP = 10, BOTTOM = 38;

export function chart({ series, xLabel, yLabel, format = (value) => `${value}`, height = 230 }) {
  const WIDTH = innerWidth < 620 ? 380 : 560;
  const drawn = series.map((each) => ({ ...each, points: each.points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)) }));
  const all = drawn.flatMap((each) => each.points);
  if (!all.length) return el("p", { cls: "muted" }, "Nothing yet.");
  const [x0, x1] = spread(all.map(([x]) => x), false), [y0, y1] = spread(all.map(([, y]) => y), true);
  const x = (value) => LEFT + ((value - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => height - BOTTOM - ((value - y0) / (y1 - y0)) * (height - TOP - BOTTOM);
  const label = `${yLabel} over ${xLabel}: ` + drawn.filter((each) => each.points.length)
    .map((each) => `${each.name} ends at ${format(each.points.at(-1)[1])}`).join("; ");
  const svg = el("svg", { cls: "chart", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label });
  for (const tick of ticks(y0, y1, 5)) {
    svg.append(el("line", { cls: "gridline", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
      el("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, format(tick)));
  }
  for (const tick of ticks(x0, x1, 7, xLabel.startsWith("round") ? 1 : 0)) svg.append(el("text", { x: x(tick), y: height - BOTTOM + 16, "text-anchor": "middle" }, short(tick)));
  svg.append(el("line", { cls: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: height - BOTTOM, y2: height - BOTTOM }),
    el("text", { x: WIDTH - RIGHT, y: height - 5, "text-anchor": "end" }, xLabel),
    el("text", { x: 2, y: height - 5 }, yLabel));
  drawn.forEach((each, place) => {
    const kind = (place % 6) + 1;
    svg.append(el("path", { cls: `k${kind}`, d: each.points.map(([a, b], first) => `${first ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("") }));
    const dots = each.points.length > 60 ? each.points.slice(-1) : each.points;
    for (const [a, b] of dots) svg.append(el("circle", { cls: `d${kind}`, cx: x(a), cy: y(b), r: 2.8 }));
  });
  return svg;
}

export function legend(names) {
  return el("ul", { cls: "legend" }, names.map((name, place) => el("li", {},
    el("svg", { width: 26, height: 8, "aria-hidden": "true" }, el("line", { cls: `k${(place % 6) + 1}`, x1: 0, x2: 26, y1: 4, y2: 4 })), name)));
}

function spread(values, padded) {
  let low = Math.min(...values), high = Math.max(...values);
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) * 0.05, high + (Math.abs(high) || 1) * 0.05];
  const room = padded ? (high - low) * 0.06 : 0;
  return [low - room, high + room];
}

function ticks(low, high, wanted, least = 0) {
  const rough = (high - low) / wanted, size = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(least, [1, 2, 5, 10].map((factor) => factor * size).find((each) => each >= rough) || rough);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6; tick += step) found.push(Math.abs(tick) < step * 1e-6 ? 0 : tick);
  return found;
}

const short = (value) => Number(value.toPrecision(4)).toLocaleString("en", { notation: Math.abs(value) >= 1e5 ? "compact" : "standard", maximumFractionDigits: 3 });
