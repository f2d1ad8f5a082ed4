// Which view is shown: the part of the address after #. Each view returns what ends it.
import { problem, show } from "./dom.js";
import { compare, runs } from "./runs.js";
import { live } from "./live.js";
import { saw } from "./saw.js";
import { start } from "./start.js";

const VIEWS = { runs, compare, live, saw, start };
let leave = () => {};
let shown = 0;

async function route() {
  leave();
  leave = () => {};
  const turn = ++shown;
  const [name, ...parts] = (location.hash.replace(/^#\/?/, "") || "runs").split("/").map(decode);
  const view = Object.hasOwn(VIEWS, name) ? name : "runs";
  for (const each of document.querySelectorAll("nav a")) {
    if (each.dataset.view === (view === "compare" ? "runs" : view)) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  try {
    const end = await VIEWS[view](...parts);
    if (turn === shown) leave = end || (() => {});
    else if (end) end();
  } catch (error) {
    if (turn === shown) show(problem(error));
  }
}

function decode(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
addEventListener("hashchange", async () => {
  await route();
  document.getElementById("main").focus({ preventScroll: true });
});
route();
