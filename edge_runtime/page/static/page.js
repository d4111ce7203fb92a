"use strict";
// Asks for the status every two seconds and draws it. What comes from the server is only ever set as text.

const EVERY_MS = 2000;
const PATIENCE_MS = 6000; // an answer later than this is no answer, and nothing older than this looks live
const OLD_MS = 15000; // the server's own reading of the journal

let last = null; // the last answer, with the moment it came
let unanswered = false; // no answer yet, and at least one request failed
const cards = new Map(); // job id -> {signature, node, age}

const at = (id) => document.getElementById(id);

function h(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== ""));
  return node;
}

function span(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

const ago = (seconds) => (seconds < 120 ? `${Math.round(seconds)} s ago` : `${span(seconds)} ago`);

function bytes(count) {
  if (count === null) return "unknown";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let step = 0;
  while (count >= 1000 && step < units.length - 1) { count /= 1000; step += 1; }
  return `${count.toFixed(step && count < 100 ? 1 : 0)} ${units[step]}`;
}

function facts(pairs) {
  const list = h("dl", {});
  for (const [name, value] of pairs) {
    if (value !== null && value !== "") list.append(h("dt", {}, name), h("dd", {}, value));
  }
  return list;
}

const mark = (kind, text) => h("span", { class: `mark ${kind}` }, text);
const empty = (text) => h("p", { class: "dim" }, text);
const fill = (id, nodes, none) => at(id).replaceChildren(...(nodes.length ? nodes : [empty(none)]));

// -- sections --

function drawState(status) {
  const roles = status.roles.map((role) => h("div", { class: `card role ${role.ready && !role.reasons.length ? "good" : "bad"}` },
    h("div", { class: "head" }, h("strong", {}, role.name),
      role.ready && !role.reasons.length ? mark("good", "ready") : mark("bad", role.ready ? "ready, but" : "not ready")),
    ...role.reasons.map((reason) => h("p", {}, reason)),
    role.restarts ? h("p", { class: "dim" }, `replaced ${role.restarts} times since the start`) : null));
  const spool = status.spool;
  const known = spool.free_bytes !== null;
  const short = known && spool.free_bytes < spool.reserve_bytes;
  const instances = Object.entries(spool.instances).map(([state, count]) => `${count} ${state}`).join(", ");
  const disk = h("div", { class: `card spool ${short || !known ? "bad" : "good"}` },
    h("div", { class: "head" }, h("strong", {}, "spool"),
      short ? mark("bad", "below its reserve: C-STORE is refused") : null),
    facts([["free", bytes(spool.free_bytes)], ["reserve", bytes(spool.reserve_bytes)], ["images", instances || "none"]]));
  const ready = h("p", { id: "ready" }, status.ready ? mark("good", "Ready") : mark("bad", "Not ready"));
  const other = status.reasons.filter((reason) => !status.roles.some((role) => role.name === reason.role));
  at("state").replaceChildren(ready, ...other.map((reason) => h("p", {}, `${reason.role}: ${reason.reason}`)),
    h("div", { class: "cards" }, ...roles, disk));
}

const MARKS = {
  whole: ["good", "complete"],
  incomplete: ["warn", "INCOMPLETE"],
  late: ["warn", "LATE"],
  problem: ["bad", "NO ANSWER"],
  unknown: ["warn", "no answer known"],
  superseded: ["", "replaced by a later revision"],
  waiting: ["", "no answer yet"],
};
const GROUPS = [
  ["Needs a person", (job) => job.mark === "problem" || isStuck(job)],
  ["Under way", (job) => !["delivered", "refused", "cancelled", "retired"].includes(job.state)],
  ["Over", () => true],
];
const isStuck = (job) => job.deliveries.some((delivery) => delivery.state === "parked");
const ADVICE = { parked: "mend the cause, then: edge-runtime jobs retry CONFIG JOB", refused: "send what is missing again: it re-opens the series" };

function jobCard(job) {
  const stuck = isStuck(job);
  const [kind, word] = MARKS[job.mark] || MARKS.unknown;
  const age = h("span", {});
  const node = h("article", { class: `card job ${stuck ? "bad" : kind} ${job.mark} ${job.state}`, "data-job": job.id },
    job.thumbnail ? h("img", { src: `thumbnails/${job.id}.png`, alt: "key image, not for diagnosis", loading: "lazy" }) : null,
    h("div", { class: "head" }, h("strong", {}, job.state), mark(kind, word),
      job.late && job.mark !== "late" ? mark("warn", "LATE") : null, stuck ? mark("bad", "NOT DELIVERED") : null),
    h("div", {}, job.pipeline, job.revision > 1 ? ` revision ${job.revision}` : "", ` \u00b7 ${job.images} images \u00b7 `, age),
    h("div", { class: "dim" }, h("code", {}, job.id)),
    job.reason ? h("p", { class: "reason" }, job.reason) : null,
    ADVICE[job.state] && job.mark === "problem" ? h("p", { class: "dim" }, ADVICE[job.state]) : null,
    job.left_out.length ? h("ul", {}, ...job.left_out.map((stage) =>
      h("li", {}, `${stage.stage}: ${stage.outcome.replace("_", " ")}${stage.reason ? `, ${stage.reason}` : ""}`))) : null,
    job.deliveries.length ? h("p", {}, job.deliveries.map((d) => `${d.destination}: ${d.count} ${d.state}`).join(", ")) : null,
    job.no_thumbnail ? h("p", { class: "dim" }, `no picture: ${job.no_thumbnail}`) : null);
  return { node, age };
}

function drawJobs(status) {
  const counts = Object.entries(status.job_counts).map(([state, count]) => h("span", { class: "chip" }, `${count} ${state}`));
  fill("counts", counts, "No job yet.");
  const seen = new Set();
  const groups = GROUPS.map(([title]) => [title, []]);
  for (const job of status.jobs) {
    const signature = JSON.stringify({ ...job, age_seconds: 0 });
    let card = cards.get(job.id);
    if (!card || card.signature !== signature) {
      card = { signature, ...jobCard(job) };
      cards.set(job.id, card);
    }
    card.seconds = job.age_seconds + status.age_seconds;
    seen.add(job.id);
    groups[GROUPS.findIndex(([, belongs]) => belongs(job))][1].push(card.node);
  }
  for (const id of cards.keys()) if (!seen.has(id)) cards.delete(id);
  at("jobs").replaceChildren(...groups.filter(([, nodes]) => nodes.length).flatMap(([title, nodes]) =>
    [h("h3", {}, `${title} (${nodes.length} shown)`), h("div", { class: "cards" }, ...nodes)]));
}

function drawDestinations(status) {
  fill("destinations", status.destinations.map((one) => {
    const bad = one.up === false || one.parked > 0;
    const up = one.up === null ? mark("", "not tried yet") : one.up ? mark("good", "up") : mark("bad", "DOWN");
    return h("div", { class: `card destination ${bad ? "bad" : one.up ? "good" : ""}` },
      h("div", { class: "head" }, h("strong", {}, one.name), one.type, up),
      facts([
        ["waiting", String(one.waiting)], ["parked", one.parked ? String(one.parked) : ""],
        ["oldest", one.oldest_seconds === null ? "" : ago(one.oldest_seconds)], ["why", one.reasons.join(", ")],
        ["next try", one.next_attempt_seconds === null ? "" : `in ${span(one.next_attempt_seconds)}`],
        ["last success", one.last_success_seconds === null ? "none since the start" : ago(one.last_success_seconds)],
        ["last failure", one.last_failure_seconds === null ? "" : `${ago(one.last_failure_seconds)}: ${one.last_failure}`],
      ]));
  }), "No destination is configured.");
}

function drawLeftOut(status) {
  fill("left-out", status.left_out.map((one) => h("div", { class: `card ${one.state === "quarantined" ? "bad" : "warn"}` },
    h("div", { class: "head" }, h("strong", {}, `${one.images} ${one.state}`), ago(one.newest_seconds)),
    h("p", {}, one.reason), h("p", { class: "dim" }, `from ${one.caller || "an unnamed caller"}`))), "None.");
}

function drawTimings(status) {
  fill("timings", status.timings.map((one) => h("div", { class: "card" },
    h("div", { class: "head" }, h("strong", {}, one.stage || "last image to answer"), one.pipeline),
    facts([["p50", span(one.p50_seconds)], ["p95", span(one.p95_seconds)], ["max", span(one.max_seconds)],
      ["of", `${one.count} jobs`]]))), "No job has concluded yet.");
}

const SIGNED = { trusted: "signed by a trusted key", untrusted: "signed, by no trusted key", none: "not signed" };

function drawEngines(status) {
  fill("engines", status.engines.map((one) => h("div", { class: `card ${one.problem ? "bad" : ""}` },
    h("div", { class: "head" }, h("strong", {}, one.name), one.version),
    one.problem ? h("p", {}, one.problem) : facts([
      ["precision", one.precision], ["built for", one.backend], ["SHA-256", h("code", {}, one.sha256)],
      ["signature", SIGNED[one.signature] || one.signature], ["golden run", one.golden], ["used by", one.stages.join(", ")],
      ["intended use", one.intended_use]]))), "No pipeline is configured.");
}

// -- being live --

function elapsed() {
  // The larger of two clocks: one stands still while a computer sleeps, the other may be set.
  return Math.max(performance.now() - last.monotonic, Date.now() - last.wall, 0) / 1000;
}

function tick() {
  const seconds = last === null ? null : elapsed() + last.status.age_seconds;
  const lost = seconds === null || elapsed() * 1000 > PATIENCE_MS || last.failed || seconds * 1000 > OLD_MS;
  const stale = last !== null && last.status.stale.length > 0;
  document.body.classList.toggle("lost", lost || stale);
  if (seconds === null) {
    at("live").textContent = unanswered ? "Not connected." : "Loading.";
    at("lost").textContent = unanswered ? "No connection to the daemon: nothing is known." : "Asking the daemon ...";
  } else if (lost) {
    at("live").textContent = "NOT LIVE";
    at("lost").textContent = `CONNECTION LOST. What is shown is ${span(Math.max(seconds, 1))} old.`;
  } else {
    at("live").textContent = stale ? "PARTLY OLD" : `Live, ${Math.round(seconds)} s old`;
    at("lost").textContent = last.status.stale.join("; ");
  }
  document.title = `${lost ? "NOT LIVE" : !last.status.ready || stale ? "Not ready" : "Ready"} \u2013 Edge Runtime`;
  for (const card of cards.values()) card.age.textContent = ago(card.seconds + (last === null ? 0 : elapsed()));
}

function draw(status) {
  at("version").textContent = status.version;
  drawState(status);
  drawVideo(status.video);
  drawJobs(status);
  drawDestinations(status);
  drawLeftOut(status);
  drawTimings(status);
  drawEngines(status);
}

async function ask() {
  const asked = { monotonic: performance.now(), wall: Date.now() }; // before, so that a slow answer is not young
  try {
    const answer = await fetch("api/status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(String(answer.status));
    const status = await answer.json();
    draw(status);
    last = { ...asked, status, failed: false };
  } catch (error) {
    if (last !== null) last.failed = true;
    else unanswered = true;
  }
  tick();
  setTimeout(ask, EVERY_MS);
}

setInterval(tick, 1000);
for (const event of ["pageshow", "online", "offline"]) window.addEventListener(event, tick);
document.addEventListener("visibilitychange", tick);
tick();
ask();
