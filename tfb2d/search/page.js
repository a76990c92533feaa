// The search page: asks /api as somebody types, and shows what each stage answers side by side.
"use strict";

const NAMES = { bm25: "BM25", twin: "Twin", rank: "DNN", fuse: "Fused" };
const SAYS = { bm25: "words in common", twin: "nearest embeddings" };
const OPTIONS = { bm25: "BM25's titles", twin: "the twin's titles" };
const STAGES = { embed: "embed the query", twin: "nearest titles", bm25: "BM25", fuse: "fuse", rank: "rank" };
const TYPING = 90; // milliseconds without a key before a search
const EXPLAINING = 350; // milliseconds without a search before its scores are explained
const SETTLED = 1500; // milliseconds without a key after which a query has its own entry in the history
const RETRY = 2000;
const byId = (id) => document.getElementById(id);
const input = byId("query"), choice = byId("legs"), narrow = matchMedia("(max-width: 860px)");
const state = { about: null, answer: null, asked: null, draft: false, shown: "two", timers: {}, explained: new Map() };

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter((child) => child != null && child !== false));
  return node;
}

// ---- numbers

const count = (value) => value.toLocaleString("en");
const time = (value) => (value >= 1000 ? (value / 1000).toFixed(1) + " s" : value.toFixed(value < 10 ? 1 : 0) + " ms");
const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
const figure = (value) => (Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(Math.abs(value) < 0.1 ? 4 : 3));
const percent = (share) => (100 * Math.max(0, Math.min(1, share))).toFixed(1) + "%";

// ---- asking the server

class Problem extends Error {
  constructor(message, status) {
    super(message);
    this.status = status; // 0 where nobody answers
  }
}

async function ask(path, parameters = [], signal = undefined) {
  let response, body;
  try {
    response = await fetch(path + (parameters.length ? "?" + new URLSearchParams(parameters) : ""), { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The search server does not answer. Is it still running?", 0);
  }
  try {
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(`The server's answer (status ${response.status}) is not from tfb2d search.`, response.status);
  }
  if (!response.ok) throw new Problem(body.error, response.status);
  return body;
}

function later(name, wait, work) {
  clearTimeout(state.timers[name]);
  state.timers[name] = setTimeout(work, wait);
}

// ---- messages

function say(problem, again) {
  const button = again && el("button", { type: "button", class: "plain", onclick: again }, "Try again");
  byId("messages").append(el("div", { class: "message bad", role: "alert" }, el("p", {}, problem), button));
}

// A note, such as "not ranked: the ranker did not answer: HOST is not reachable (...)": what happened, then the details.
function note(text) {
  const parts = text.split(": ");
  const head = parts.slice(0, 2).join(": "), rest = parts.slice(2).join(": ");
  const more = rest && el("details", {}, el("summary", {}, "Why"), el("p", { class: "note" }, rest));
  byId("messages").append(el("div", { class: "message", role: "note" }, el("div", {}, head[0].toUpperCase() + head.slice(1) + ".", more || "")));
}

function failed(error, again, tries = 0) {
  if (error.name === "AbortError") return;
  byId("messages").replaceChildren();
  byId("columns").setAttribute("aria-busy", "true"); // what is shown is of an earlier query
  if (!(error instanceof Problem)) {
    say(`Something on this page went wrong: ${error.message}`, again);
    throw error;
  }
  say(error.message, again);
  if (error.status === 0) later("again", RETRY, () => waitForServer(again));
  else if (error.status === 503 && tries < 3) later("again", RETRY / 2, () => again(tries + 1));
}

async function waitForServer(again) {
  try {
    await ask("/api/health");
  } catch {
    return later("again", RETRY, () => waitForServer(again));
  }
  again();
}

// ---- what is searched

async function describe() {
  try {
    state.about = await ask("/api/describe");
  } catch (error) {
    return failed(error, describe);
  }
  byId("messages").replaceChildren();
  const { titles, legs, models, samples, ranks, notes } = state.about;
  byId("what").textContent = titles ? `Search ${count(titles)} ${titles === 1 ? "title" : "titles"}` : "The catalogue is empty";
  const ways = legs.map((leg) => NAMES[leg] ?? leg).join(" and the ").replace(/^Twin/, "The twin").replace("the Twin", "the twin");
  byId("how").textContent = !titles
    ? "There is nothing to find yet: tfb2d search update adds titles."
    : `${ways} ${legs.length > 1 ? "retrieve" : "retrieves"}` +
      (ranks ? ", and the student, a network over n-grams, ranks what they retrieve." : ". No student ranks here: --ranker=FOLDER names one.");
  byId("models").textContent = Object.entries(models).map(([role, name]) => `${role} ${name}`).join(" · ");
  byId("samples").replaceChildren(
    ...samples.map((text) => el("li", {}, el("button", { type: "button", dir: "auto", onclick: () => go(text) }, text))),
  );
  byId("advice").replaceChildren(...notes.map((text) => el("p", { class: "note" }, text)));
  byId("try").hidden = !samples.length;
  const both = legs.join(",");
  const choices = ranks ? [...new Set([...legs].reverse().concat(both))] : [both];
  choice.replaceChildren(
    ...choices.map((value) => el("option", { value }, OPTIONS[value] ?? "titles of both")),
  );
  byId("from").hidden = !ranks || legs.length < 2;
  read();
}

// ---- the address bar: /?q=...&legs=...

function read() {
  const given = new URLSearchParams(location.search);
  input.value = given.get("q") ?? "";
  const legs = given.get("legs");
  if ([...choice.options].some((option) => option.value === legs)) choice.value = legs;
  else choice.selectedIndex = 0;
  state.draft = false;
  search();
}

function address() {
  const query = input.value.trim();
  const parameters = new URLSearchParams(query ? { q: query } : {});
  if (choice.selectedIndex > 0) parameters.set("legs", choice.value);
  return parameters.size ? "/?" + parameters : "/";
}

// A query that is being typed has one entry in the history; Enter, a sample or a pause ends it.
function remember(settled) {
  const to = address();
  if (to !== location.pathname + location.search) history[state.draft ? "replaceState" : "pushState"](null, "", to);
  state.draft = !settled;
}

function go(query) {
  input.value = query;
  remember(true);
  search();
  input.focus();
}

// ---- searching

async function search(tries = 0) {
  if (!state.about) return;
  const query = input.value.trim();
  state.asked?.abort();
  clearTimeout(state.timers.again);
  clearTimeout(state.timers.explain);
  document.title = query ? `${query} · tfb2d search` : "tfb2d search";
  byId("start").hidden = Boolean(query);
  byId("results").hidden = !query || !state.answer;
  if (!query) {
    state.answer = null;
    byId("messages").replaceChildren();
    byId("spoken").textContent = "";
    return;
  }
  const most = state.about.limits.query;
  if ([...query].length > most)
    return failed(new Problem(`This query has ${count([...query].length)} characters; up to ${count(most)} are searched. Shorten it.`, 400), null);
  state.asked = new AbortController();
  byId("columns").setAttribute("aria-busy", "true");
  try {
    const parameters = [["q", query], ["k", 10], ["legs", choice.value], ["compare", true]];
    const answer = await ask("/api/search", parameters, state.asked.signal);
    byId("messages").replaceChildren();
    show(answer);
  } catch (error) {
    failed(error, search, typeof tries === "number" ? tries : 0);
  }
}

// ---- results

function columnsOf(answer) {
  const { legs, ranks } = state.about;
  const columns = legs.map((leg) => ({ key: leg, title: NAMES[leg] ?? leg, says: SAYS[leg] ?? "", ...answer.columns[leg] }));
  const used = legs.filter((leg) => answer.hits.some((hit) => leg in hit.stages));
  const retrieved = (used.length ? used : choice.value.split(",")).map((leg) => NAMES[leg] ?? leg).join(" + ");
  const ranked = answer.hits.some((hit) => hit.stages.rank) || !answer.hits.length;
  if (ranks) {
    const says = ranked ? "retrieved, then ranked by the student" : "the first stage's order: nothing ranked it";
    columns.push({ ...answer, key: "two", by: !ranked && used.length === 1 ? used[0] : "two", title: ranked ? `${retrieved} + DNN` : `${retrieved}, not ranked`, says });
  } else if (legs.length > 1) columns.push({ ...answer, key: "two", title: retrieved, says: "fused by rank" });
  return columns;
}

function show(answer) {
  state.answer = answer;
  state.explained.clear();
  const columns = columnsOf(answer);
  answer.notes.forEach(note);
  timing(answer.milliseconds);
  const keys = columns.map((column) => column.key);
  if (!keys.includes(state.shown)) state.shown = keys.at(-1);
  const area = byId("columns");
  area.style.setProperty("--columns", columns.length);
  area.replaceChildren(...columns.map(columnNode));
  area.setAttribute("aria-busy", "false");
  byId("tabs").replaceChildren(
    ...columns.map(({ key, title }) =>
      el("button", { type: "button", role: "tab", id: `tab-${key}`, class: colour(key), "aria-controls": `column-${key}`, onclick: () => turn(key), onkeydown: tabKey }, title),
    ),
  );
  turn(state.shown);
  byId("results").hidden = false;
  byId("start").hidden = true;
  const { length } = answer.hits;
  byId("found").textContent = `Titles for ${answer.query}`;
  byId("spoken").textContent = `${length} ${length === 1 ? "title" : "titles"} for ${answer.query}`;
  if (state.about.explains && answer.hits.length) later("explain", EXPLAINING, explainShown);
}

const colour = (key) => (key === "two" ? "rank" : key);

function timing(milliseconds) {
  const { total = 0, ...stages } = milliseconds;
  const known = Object.keys(STAGES).filter((stage) => stage in stages);
  const rest = total - known.reduce((sum, stage) => sum + stages[stage], 0);
  const parts = known.map((stage) => [stage, STAGES[stage], stages[stage]]);
  if (rest > 0.05) parts.push(["other", "other", rest]);
  byId("timing").replaceChildren(
    el("div", { class: "track", "aria-hidden": "true" }, parts.map(([stage, , value]) => el("i", { class: stage, style: `flex: ${Math.max(value, 0)} 0 0` }))),
    el("ul", { "aria-label": "Time by stage" }, el("li", { class: "total" }, `${time(total)} in all`), parts.map(([stage, name, value]) => el("li", { class: stage }, `${name} ${time(value)}`))),
  );
}

function turn(key) {
  state.shown = key;
  for (const tab of byId("tabs").children) {
    const chosen = tab.id === `tab-${key}`;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
  }
  for (const column of byId("columns").children) column.classList.toggle("shown", column.id === `column-${key}`);
}

function tabKey(event) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  event.stopPropagation();
  const tabs = [...byId("tabs").children];
  const tab = tabs[(tabs.indexOf(event.target) + by + tabs.length) % tabs.length];
  tab.click();
  tab.focus();
}

function columnNode({ key, by = key, title, says, hits, milliseconds, notes }) {
  const scoreOf = (hit) => hit.stages[by]?.score ?? hit.score; // a leg's own score, not that of its rank in the fusion
  const most = Math.max(...hits.map(scoreOf), 1e-9);
  const whole = by === "bm25" || (hits.length && most < 0.1) ? most : Math.max(1, most); // BM25 and fused scores have no upper end
  const items = hits.map((hit, at) => hitNode({ ...hit, score: scoreOf(hit) }, at, key, scoreOf(hit) / whole));
  const teacher = key === "two" && hits.length
    ? el("button", { type: "button", class: "plain", onclick: (event) => askTeacher(event.currentTarget, hits) }, "Ask the teacher")
    : null;
  return el(
    "section", { class: `column ${colour(key)}`, id: `column-${key}`, "aria-label": title },
    el("h2", {}, title, el("small", { class: "lead" }, time(milliseconds.total ?? 0))),
    el("p", { class: "note" }, says),
    hits.length ? el("ol", { class: "hits" }, items) : el("p", { class: "card none" }, nothing(key, notes)),
    teacher && el("div", { class: "legendline" }, teacher, el("span", { class: "reply", role: "status" })),
  );
}

function nothing(key, notes) {
  if (!state.about.titles) return "The catalogue is empty.";
  if (key === "twin" && notes.length) return notes.join(" ");
  return key === "bm25" ? "No title has a word of this query." : "Nothing was retrieved for this query.";
}

function hitNode(hit, at, key, share) {
  const name = el("span", { class: "name", dir: "auto" }, hit.title);
  const button = el(
    "button", { type: "button", class: "hit", "aria-expanded": "false", onclick: () => toggle(item) },
    el("span", { class: "number", "aria-hidden": "true" }, String(at + 1)),
    name,
    el("span", { class: "meter" }, el("span", { class: "track" }, el("i", { style: `width: ${percent(share)}` })), el("span", {}, el("span", { class: "unseen" }, "score "), figure(hit.score))),
  );
  const item = el("li", {}, button);
  Object.assign(item, { hit, key });
  return item;
}

// ---- why a score

function toggle(item) {
  const button = item.querySelector(".hit"), open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", !open);
  item.querySelector(".detail")?.remove();
  if (open) return;
  const { hit } = item;
  const legs = state.about.legs.filter((leg) => leg in hit.stages);
  const stages = Object.entries(hit.stages).filter(([stage]) => stage !== "fuse" || legs.length > 1).map(([stage, { rank, score }]) => [el("dt", {}, NAMES[stage] ?? stage), el("dd", {}, `rank ${rank}`), el("dd", {}, figure(score))]);
  const why = el("div", {}), reply = el("span", { class: "reply", role: "status" });
  item.append(
    el(
      "div", { class: "detail" },
      el("h3", {}, `Where each stage put it · id ${hit.id}`), el("dl", { class: "pairs" }, stages),
      why,
      item.key === "two" ? null : el("div", { class: "legendline" }, el("button", { type: "button", class: "plain", onclick: (event) => askTeacher(event.currentTarget, [hit]) }, "Ask the teacher"), reply),
    ),
  );
  if (state.about.explains) tellWhy(why, hit);
}

async function tellWhy(why, hit) {
  why.append(el("h3", {}, "What moved the student's score"), el("p", { class: "lead" }, "Computing …"));
  let explained;
  try {
    [explained] = await Promise.all(explain([hit.title]));
  } catch (error) {
    if (error.name !== "AbortError") why.lastChild.textContent = error.message;
    return;
  }
  const most = Math.max(...explained.ngrams.map((part) => Math.abs(part.value)), 1e-9);
  why.lastChild.replaceWith(
    el("p", { dir: "auto" }, el("b", {}, "query"), ...marked(explained.query, strongest(explained))),
    el("p", { dir: "auto" }, el("b", {}, "title"), ...marked(explained.title, strongest(explained))),
    el("ul", { class: "adds", "aria-label": "What adds to the logit" }, explained.ngrams.slice(0, 8).map(({ text, value, about }) =>
      el("li", { title: about }, el("span", { dir: "auto" }, text.replaceAll("⊣", "(end)")), el("span", { class: "value" }, signed(value)), el("span", { class: "axis", "aria-hidden": "true" }, el("i", { class: value < 0 ? "down" : "up", style: `width: ${percent(Math.abs(value) / most / 2)}` }))))),
    legend(explained),
  );
}

function legend(explained) {
  const kinds = [["up", "raises the score"], ["down", "lowers it"]];
  return el("p", { class: "legendline" }, kinds.map(([kind, text]) => el("span", {}, el("mark", { class: kind, style: "--strength: 1" }, text))), el("span", {}, explained.ngrams.some((part) => part.text.includes(" ~ ")) && "a ~ b: words that match softly"), el("span", {}, `by ${explained.method}`));
}

const strongest = ({ query, title }) => Math.max(...[...query, ...title].map((part) => Math.abs(part.value)), 1e-9);

function marked(parts, most) {
  return parts.map(({ text, value }) => {
    const strength = Math.abs(value) / most;
    if (strength < 0.05) return text;
    return el("mark", { class: value < 0 ? "down" : "up", style: `--strength: ${strength.toFixed(2)}`, title: `${signed(value)} to the logit` }, text);
  });
}

// Asks for explanations that nobody has asked for yet; returns a promise for each title.
function explain(titles) {
  const missing = [...new Set(titles)].filter((title) => !state.explained.has(title));
  const { limits } = state.about;
  for (let first = 0; first < missing.length; first += limits.titles) {
    const some = missing.slice(first, first + limits.titles);
    const explained = ask("/api/explain", [["q", state.answer.query], ...some.map((title) => ["title", title])], state.asked?.signal);
    some.forEach((title, at) => state.explained.set(title, explained.then(({ explanations }) => explanations[at])));
    explained.catch(() => some.forEach((title) => state.explained.delete(title))); // the next one who asks tries again
  }
  return titles.map((title) => state.explained.get(title));
}

async function explainShown() {
  const items = [...document.querySelectorAll("#column-two .hits > li")];
  try {
    const explained = await Promise.all(explain(items.map((item) => item.hit.title)));
    items.forEach((item, at) => item.querySelector(".name").replaceChildren(...marked(explained[at].title, strongest(explained[at]))));
  } catch {
    // What is asked for by hand says what is wrong.
  }
}

async function askTeacher(button, hits) {
  const reply = button.parentNode.querySelector(".reply");
  button.disabled = true;
  reply.textContent = "The teacher reads … (the first time it loads for some seconds)";
  try {
    const asked = [["q", state.answer.query], ...hits.map((hit) => ["title", hit.title])];
    const { scores, milliseconds } = await ask("/api/teacher", asked, state.asked?.signal);
    const scoreOf = new Map(hits.map((hit, at) => [hit.id, scores[at]]));
    const items = [...button.closest(".column").querySelectorAll(".hits > li")].filter((item) => scoreOf.has(item.hit.id));
    for (const item of items) {
      item.querySelector(".meter.teacher")?.remove();
      item.querySelector(".hit").append(teacherMeter(scoreOf.get(item.hit.id)));
    }
    reply.textContent = `The teacher took ${time(milliseconds)}`;
  } catch (error) {
    if (error.name !== "AbortError") reply.textContent = error.message;
  }
  button.disabled = false;
}

function teacherMeter(score) {
  return el("span", { class: "meter teacher" }, el("span", {}, "teacher"), el("span", { class: "track" }, el("i", { style: `width: ${percent(score)}` })), el("span", {}, figure(score)));
}

// ---- the keyboard

function arrows(event) {
  const here = event.target.closest?.(".hits > li");
  const shownColumns = [...byId("columns").children].filter((column) => !narrow.matches || column.classList.contains("shown"));
  const hitsOf = (column) => [...column.querySelectorAll(".hit")];
  let to = null;
  if (event.target === input) {
    if (event.key !== "ArrowDown") return;
    to = shownColumns.map(hitsOf).reverse().find((hits) => hits.length)?.[0];
  } else if (here) {
    const column = here.closest(".column"), hits = hitsOf(column), at = hits.indexOf(here.querySelector(".hit"));
    if (event.key === "ArrowDown") to = hits[at + 1];
    else if (event.key === "ArrowUp") to = hits[at - 1] ?? input;
    else {
      const next = shownColumns[shownColumns.indexOf(column) + (event.key === "ArrowRight" ? 1 : -1)];
      to = next && (hitsOf(next)[at] ?? hitsOf(next).at(-1));
    }
  } else return;
  event.preventDefault();
  to?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const writes = event.target.matches?.("input, select, textarea");
  if (event.key === "/" && !writes) {
    event.preventDefault();
    input.focus();
    input.select();
  } else if (event.key.startsWith("Arrow") && event.target !== choice) arrows(event);
  else if (event.key === "Escape") {
    const item = event.target.closest?.(".hits > li");
    const open = item?.querySelector(".hit[aria-expanded=true]");
    if (open) {
      toggle(item);
      open.focus();
    } else if (event.target !== input) input.focus();
    else if (input.value) {
      event.preventDefault();
      input.value = "";
      remember(true);
      search();
    }
  }
});

input.addEventListener("input", () => {
  later("search", TYPING, () => {
    remember(false);
    search();
    later("settle", SETTLED, () => (state.draft = false));
  });
});
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(state.timers.search);
  remember(true);
  search();
});
choice.addEventListener("change", () => {
  remember(true);
  search();
});
addEventListener("popstate", read);
describe();
