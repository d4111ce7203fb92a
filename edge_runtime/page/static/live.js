"use strict";
// The live pictures. Each source has one stream of records; only its newest picture is ever drawn.
//
// The age of a picture is bounded from above: the server said `hello.now` after our request, so on its clock it was at
// least `hello.now` when ours said `asked`. However late bytes come, a picture is never taken for younger than it is.

const TICK_MS = 100; // how often the age on the page is set
const SILENT_MS = 1500; // the server says something at least every 500 ms
const CONNECT_MS = 5000;
const RETRY_MS = 500;
const FUTURE_SECONDS = 0.02; // what two clocks may differ by between two streams
const MOST_BYTES = 8000000;
const AT_ONCE = 4; // browsers open six connections to a server at most; the status needs one
const ENOUGH = 0.95; // of the frames in time; less is amber
const FEW = 0.5; // less is red
const UNREADABLE = "a picture cannot be read";
const AWAY = ["connecting", "ended", "down"];

const views = new Map(); // source -> view
let byHand = false; // somebody has chosen what is watched

function moment() {
  return { monotonic: performance.now(), wall: Date.now() };
}

function since(then) {
  // The larger of two clocks: one stands still while a computer sleeps, the other may be set.
  return Math.max(performance.now() - then.monotonic, Date.now() - then.wall, 0) / 1000;
}

// -- what is shown --

const watched = () => [...views.values()].filter((one) => one.wanted);

function makeView(name) {
  const part = (tag, kind) => h(tag, { class: kind });
  const view = {
    name, canvas: h("canvas", { width: "640", height: "360", role: "img", "aria-label": `live picture of ${name}` }),
    stale: part("p", "stale-words"), mark: h("span", { class: "mark", role: "status" }), whole: part("span", "mark warn"),
    age: part("dd", "age"), budget: part("dd", "budget"), source: part("span", "source-state"), reason: part("span", "of-status"),
    counts: part("dd", "of-status"), share: part("span", "mark of-status"), examination: part("span", "mark of-status"), pipeline: part("span", ""), left: h("ul", { class: "left-out" }),
    findings: h("ul", { class: "findings" }), toggle: h("button", { type: "button" }),
    wanted: watched().length < AT_ONCE, gone: false, status: null,
    state: "connecting", trouble: "connecting", heard: moment(), shown: null, pending: null, decoding: false,
    stream: null, patience: CONNECT_MS, abort: null,
  };
  view.node = h("article", { class: "card view stale", "data-source": name },
    h("div", { class: "head" }, h("strong", {}, name), view.pipeline, view.mark, view.whole, view.share, view.examination, view.toggle),
    h("div", { class: "screen" }, view.canvas, view.stale),
    h("dl", {}, h("dt", {}, "age"), view.age, h("dt", {}, "budget"), view.budget, h("dt", {}, "source"), h("dd", {}, view.source, view.reason),
      h("dt", { class: "of-status" }, "frames"), view.counts),
    view.left, view.findings);
  view.toggle.addEventListener("click", () => choose(view));
  return view;
}

function choose(view) {
  byHand = true;
  view.wanted = !view.wanted;
  const others = watched().filter((one) => one !== view);
  if (view.wanted && others.length >= AT_ONCE) leave(Object.assign(others[0], { wanted: false }), "not watched");
  if (!view.wanted) leave(view, "not watched");
}

function watchWhatIsThere() {
  if (byHand) return;
  const rank = (view) => (view.shown === null && AWAY.includes(view.status.state) ? 2 : 0) + (view.wanted ? 0 : 1);
  [...views.values()].sort((a, b) => rank(a) - rank(b)).forEach((view, place) => {
    const before = view.wanted;
    view.wanted = place < AT_ONCE;
    if (before && !view.wanted) leave(view, "not watched");
  });
}

function leave(view, why) {
  view.trouble = why;
  if (view.abort !== null) view.abort.abort();
  refresh(view);
}

const percent = (share) => `${Math.floor(100 * share + 1e-6)} %`;

function nowSaid(view) {
  // What the status says of the source, while it is not older than it looks.
  return view.status !== null && last !== null && !last.failed && elapsed() * 1000 <= PATIENCE_MS ? view.status : null;
}

function noPicture(view, otherwise) {
  const said = nowSaid(view);
  const few = said !== null && said.in_time_share !== null && said.in_time_share < FEW;
  return few ? `no result in time (${percent(said.in_time_share)} of the frames have one)` : otherwise;
}

function notLive(view) {
  const said = nowSaid(view);
  const reason = said !== null && said.state === view.state ? said.reason : "";
  return `source: ${view.state}${reason ? `: ${reason}` : ""}`;
}

function whyStale(view, age) {
  if (!view.wanted) return "not watched";
  if (view.trouble !== "") return view.trouble;
  if (since(view.heard) * 1000 > SILENT_MS) return "connection lost";
  if (view.state !== "live") return notLive(view);
  if (view.shown === null) return noPicture(view, "no picture yet");
  if (age < -FUTURE_SECONDS) return "it says that it was taken in the future";
  return age <= view.shown.said.display_age_seconds ? "" : noPicture(view, "no newer picture");
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const old = (age) => span(Math.max(0, age));

function refresh(view) {
  const { shown } = view;
  const age = shown === null ? null : since(shown.asked) - shown.afterAsked;
  const why = whyStale(view, age);
  const live = why === "";
  view.node.classList.toggle("stale", !live);
  view.node.classList.toggle("good", live && shown.said.complete);
  view.node.classList.toggle("warn", live && !shown.said.complete);
  view.mark.className = live ? "mark good" : "mark bad";
  say(view.mark, live ? "LIVE" : "STALE");
  say(view.stale, live ? "" : `STALE${age === null ? "" : ` ${old(age)}`}: ${why}`);
  say(view.age, age === null ? "no picture" : `${live ? "at most " : "STALE, "}${old(age)}`);
  say(view.source, view.state);
  say(view.toggle, view.wanted ? "Stop" : "Watch");
}

function describe(view, said) {
  const used = said.concluded_at - said.captured_at;
  say(view.budget, `${span(said.deadline_seconds)}, used ${span(used)} (${Math.round((100 * used) / said.deadline_seconds)} %)`);
  say(view.whole, said.complete ? "" : "INCOMPLETE");
  const skipped = said.stages.filter((stage) => !["ran", "not_needed"].includes(stage.outcome));
  view.left.replaceChildren(...skipped.map((stage) =>
    h("li", {}, `${stage.stage}: ${stage.outcome.replace("_", " ")}${stage.reason ? `, ${stage.reason}` : ""}`)),
  ...said.notes.map((note) => h("li", {}, note)));
  view.findings.replaceChildren(...said.findings.map((one) =>
    h("li", { class: one.answer }, `${one.stage}: ${one.label} ${one.answer.replace("_", " ")}`,
      one.probability === null ? "" : ` ${Math.round(100 * one.probability)} %`)));
}

async function drawNewest(view) {
  if (view.decoding) return; // whoever is at it takes the newest when it is done
  view.decoding = true;
  try {
    while (view.pending !== null) {
      const { stream, said, jpeg } = view.pending;
      view.pending = null;
      const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
      if (stream === view.stream) {
        view.shown = { said, asked: stream.asked, afterAsked: said.captured_at - stream.hello };
        describe(view, said);
        refresh(view); // grey first, if it must be
        if (view.canvas.width !== bitmap.width) view.canvas.width = bitmap.width;
        if (view.canvas.height !== bitmap.height) view.canvas.height = bitmap.height;
        view.canvas.getContext("2d").drawImage(bitmap, 0, 0);
      }
      bitmap.close();
    }
  } catch (error) {
    leave(view, UNREADABLE);
  } finally {
    view.decoding = false;
  }
}

// -- the stream --

async function* records(body) {
  const reader = body.getReader();
  let held = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held);
    joined.set(value, held.length);
    held = joined;
    while (held.length >= 4) {
      const size = new DataView(held.buffer, held.byteOffset).getUint32(0, true);
      if (size < 1 || size > MOST_BYTES) throw new Error("not a stream of records");
      if (held.length < 4 + size) break;
      yield held.subarray(4, 4 + size);
      held = held.subarray(4 + size);
    }
  }
}

const parsed = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

function take(view, stream, content) {
  if (stream.signal.aborted) return;
  view.heard = moment();
  view.patience = SILENT_MS;
  if (content[0] === 0x4a) { // J
    const said = parsed(content.subarray(1));
    if (said.hello) stream.hello = said.now;
    else heardState(view, said.state);
    return;
  }
  if (stream.hello === null) throw new Error("a picture without a clock");
  const size = new DataView(content.buffer, content.byteOffset + 1).getUint32(0, true);
  view.pending = { stream, said: parsed(content.subarray(5, 5 + size)), jpeg: content.slice(5 + size) };
  view.trouble = "";
  drawNewest(view);
}

function heardState(view, state) {
  view.state = state;
  if (view.trouble !== UNREADABLE) view.trouble = ""; // it is connected; what is shown is as old as it is
}

const REFUSED = { 401: "a login is needed", 404: "no such source", 503: "too many viewers" };

async function listen(view) {
  view.abort = new AbortController();
  view.heard = moment();
  view.patience = CONNECT_MS;
  const stream = { asked: moment(), hello: null, signal: view.abort.signal }; // before the request: what comes of it is never taken for younger
  const answer = await fetch(`live/${view.name}`, { cache: "no-store", signal: view.abort.signal });
  if (!answer.ok) throw new Error(REFUSED[answer.status] || `HTTP ${answer.status}`);
  view.stream = stream;
  for await (const content of records(answer.body)) take(view, stream, content);
}

const pause = (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); });

async function follow(view) {
  while (!view.gone) {
    if (document.hidden || !view.wanted) {
      await pause(TICK_MS);
      continue;
    }
    try {
      await listen(view); // ends by itself after some seconds
    } catch (error) {
      if (!view.abort.signal.aborted) view.trouble = Object.values(REFUSED).includes(error.message) ? error.message : "connection lost";
      await pause(RETRY_MS);
    }
  }
}

function watchAll() {
  for (const view of views.values()) {
    if (since(view.heard) * 1000 > view.patience) leave(view, view.trouble || "connection lost");
    else refresh(view);
  }
}

function onHidden() {
  for (const view of views.values()) if (document.hidden) leave(view, "the tab was hidden");
}

// -- what the status says --

function drawShare(view, share) {
  const kind = share === null ? "" : share < FEW ? "bad" : share < ENOUGH ? "warn" : "good";
  view.node.classList.toggle("some-in-time", kind === "warn");
  view.node.classList.toggle("few-in-time", kind === "bad");
  view.share.className = `mark of-status ${kind}`;
  say(view.share, share === null ? "" : `${percent(share)} in time`);
}

function drawVideo(sources) {
  at("video").hidden = sources.length === 0;
  for (const [name, view] of views) {
    if (!sources.some((source) => source.name === name)) {
      view.gone = true;
      leave(view, "no such source");
      views.delete(name);
      view.node.remove();
    }
  }
  const added = sources.filter((source) => !views.has(source.name)).map((source) => {
    const view = makeView(source.name);
    views.set(source.name, view);
    at("views").append(view.node);
    return view;
  });
  for (const source of sources) {
    const view = views.get(source.name);
    view.status = source;
    if (!view.wanted || view.trouble !== "") view.state = source.state; // its stream says nothing
    view.reason.textContent = source.reason && `: ${source.reason}`;
    drawShare(view, source.in_time_share);
    view.pipeline.textContent = source.pipeline;
    const counts = Object.entries(source.frames).filter(([, count]) => count > 0).map(([outcome, count]) => `${count} ${outcome.replace("_", " ")}`);
    if (source.in_time_per_second !== null) counts.unshift(`${source.in_time_per_second} a second in time`);
    view.counts.textContent = counts.join(", ") || "none";
    view.examination.textContent = source.examination_open ? "examination open" : "";
  }
  watchWhatIsThere();
  for (const view of added) {
    refresh(view);
    follow(view);
  }
}

setInterval(watchAll, TICK_MS);
document.addEventListener("visibilitychange", onHidden);
for (const event of ["pagehide", "freeze", "pageshow", "resume"]) window.addEventListener(event, watchAll);
