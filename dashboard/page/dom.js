// Elements and figures. Text is only ever set as text, so no name can become markup.

export function el(tag, attributes = {}, ...children) {
  const made = tag === "svg" || SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value") made.value = value;
    else if (name === "checked") made.checked = value;
    else made.setAttribute(name === "cls" ? "class" : name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}
const SVG = new Set(["path", "line", "circle", "text", "g", "rect", "title"]);

export function show(...children) {
  document.getElementById("main").replaceChildren(...children.filter(Boolean));
}

export async function ask(path, options = {}) {
  const answer = await fetch(path, options);
  const content = await answer.json().catch(() => ({ error: `the dashboard answered ${answer.status}` }));
  if (!answer.ok) throw new Error(content.error || `the dashboard answered ${answer.status}`);
  return content;
}

let known = null;
export async function about() {
  known = known || (await ask("/api/about"));
  return known;
}

export async function send(path, content, accessToken = "") {
  const { form_token: token } = await about();
  const headers = { "content-type": "application/json", "x-form-token": token || "" };
  if (accessToken) headers["x-access-token"] = accessToken;
  return ask(path, { method: "POST", headers, body: JSON.stringify(content) });
}

export const runPath = (id, rest = "") => `/api/runs/${encodeURIComponent(id)}${rest}`;
export const link = (view, ...parts) => `#/${[view, ...parts.map((part) => encodeURIComponent(part))].join("/")}`;
export const percent = (value) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(2)} %`);
export const number = (value, digits = 0) =>
  value === null || value === undefined ? "–" : Number(value).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
export const title = (id) => (id === "@server" ? "the watched aggregator" : id);
export const badge = (state) => el("span", { cls: `badge ${STATES.has(state) ? state : "running"}` }, state);
const STATES = new Set(["running", "finished", "failed", "away", "stopped", "unreadable"]);
export const problem = (error) => el("p", { cls: "note bad", role: "alert" }, error.message || String(error));
