// Shows status.json, every few seconds. What comes from records is only ever put into the page as text.
"use strict";

const EVERY_MS = 5000;
const LAYERS = ["bronze", "silver", "gold"];
const FATES = ["accepted", "malformed", "schema", "lookup", "expectation", "event_time", "duplicate", "dropped"];
const WELL = { working: "", starting: "quiet", ended: "quiet" };

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const hundredths = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** An element with attributes and children; strings become text. */
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "title"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

const number = (value, unit = "") => (value === null || value === undefined ? "–" : whole.format(value) + unit);
const moment = (text) => (text ? text.replace("T", " ").replace(/(\.\d+)?Z$/, "") : "–");

/** A part of a whole; what is there at all is never shown as nothing. */
function percent(part, all) {
  if (!all || !part) return all ? "0" : "–";
  return part / all < 0.00005 ? "< 0.01%" : hundredths.format(part / all);
}

function bytes(count) {
  const power = Math.min(4, Math.max(1, Math.floor(Math.log2(Math.max(count, 1)) / 10)));
  return `${(count / 1024 ** power).toFixed(1)} ${["", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 120) return seconds.toFixed(1) + " s";
  if (seconds < 7200) return (seconds / 60).toFixed(0) + " min";
  return (seconds / 3600).toFixed(1) + " h";
}

function table(header, rows, options = {}) {
  const numbers = options.numbers ?? [];
  const cell = (tag) => (value, at) => make(tag, numbers.includes(at) ? { class: "number" } : at === options.value ? { class: "value" } : {}, value);
  const line = (row) => make("tr", row.bad ? { class: "bad" } : {}, ...row.cells.map(cell("td")));
  return make("div", { class: "scroll" },
    make("table", options.kind ? { class: options.kind } : {}, make("thead", {}, make("tr", {}, ...header.map(cell("th")))), make("tbody", {}, ...rows.map(line))));
}

/** One layer: how it fares, where it is, what it costs. */
function layer(of, standing) {
  const fare = fares(of).find((fare) => fare.layer === standing.kind);
  const facts = [
    ["position", number(standing.position)],
    ["rows waiting", number(standing.lag_rows)],
    [standing.kind === "bronze" ? "newest row" : "oldest waiting", duration(standing.lag_seconds)],
    ["rows/s", number(standing.activity.rows_per_second)],
    [standing.kind === "gold" ? "closed up to" : "watermark", moment(standing.watermark)],
    ["files", `${number(standing.files)}, ${bytes(standing.bytes)}`],
    ["log", `version ${number(standing.version)}, ${bytes(standing.log_bytes)}`],
    ["CPU per row", standing.activity.cpu_ns_per_row === null ? "–" : number(standing.activity.cpu_ns_per_row, " ns")],
  ].filter(([name]) => standing.kind !== "bronze" || name !== "watermark");
  const list = make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  return card(standing.kind, standing.layer, fare, list);
}

function card(kind, name, fare, ...more) {
  const state = fare ? make("span", { class: `state ${WELL[fare.state] ?? "bad"}` }, fare.state) : null;
  const why = fare && fare.why ? trouble(`since ${moment(fare.since)} UTC: ${fare.why}`, fare.next) : null;
  return make("section", { class: `card ${kind}` }, state, make("h3", {}, name), ...more, why);
}

/** What is wrong, and what to do about it. */
function trouble(why, next) {
  return make("div", { class: "why" }, make("p", {}, why), next ? make("p", { class: "next" }, make("b", {}, "Next: "), next) : null);
}

/** How the layers fare that run in the process that answers. */
const fares = (of) => (of.fares ?? []).toSorted((a, b) => LAYERS.indexOf(a.layer) - LAYERS.indexOf(b.layer));

/** A line per layer over the last hour. Points are [minutes ago, value]. */
function chart(title, unit, lines) {
  // As wide as a narrow screen has room for, so that letters keep their size.
  const [width, height, left, bottom] = [Math.min(560, window.innerWidth - 70), 150, 48, 18];
  const top = Math.max(1, ...lines.flatMap((line) => line.points.map(([, value]) => value)));
  const x = (minutes) => width - (minutes / 60) * (width - left);
  const y = (value) => 8 + (1 - value / top) * (height - bottom - 8);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  for (const share of [0, 0.5, 1]) {
    svg.append(make("line", { class: "grid", x1: left, x2: width, y1: y(share * top), y2: y(share * top) }));
    svg.append(make("text", { x: left - 4, y: y(share * top) + 4, "text-anchor": "end" }, short.format(share * top)));
  }
  for (const minutes of [60, 30, 0]) {
    const anchor = minutes === 0 ? "end" : minutes === 60 ? "start" : "middle";
    svg.append(make("text", { x: x(minutes), y: height - 3, "text-anchor": anchor }, minutes ? `-${minutes} min` : "now"));
  }
  for (const line of lines) {
    const path = line.points.map(([minutes, value], at) => `${at ? "L" : "M"}${x(minutes).toFixed(1)},${y(value).toFixed(1)}`).join("");
    svg.append(make("path", { class: line.layer, d: path }, make("title", {}, line.layer)));
  }
  const last = (line) => (line.points.length ? short.format(line.points.at(-1)[1]) : "–");
  const key = make("p", { class: "key" }, ...lines.map((line) => make("b", { class: line.layer }, `${line.layer} ${last(line)}`)), unit);
  return make("section", { class: "card" }, make("h3", {}, title), svg, key);
}

function charts(pipeline, now) {
  // A minute has the positions at its end; the last one has not ended, so that only whole ones make a rate.
  const minutes = (pipeline.history ?? []).map((minute) => ({ ago: (Date.parse(now) - Date.parse(minute.at)) / 60000 - 1, ...minute.positions }));
  const whole = minutes.slice(0, -1);
  const rates = (layer) => whole.slice(1).map((minute, at) => [minute.ago, (minute[layer] - whole[at][layer]) / 60]);
  const lags = (layer) => minutes.map((minute) => [Math.max(0, minute.ago), minute.bronze - minute[layer]]);
  const line = (points) => (layer) => ({ layer, points: points(layer).filter(([ago, value]) => ago <= 60 && Number.isFinite(value)) });
  return make("div", { class: "row" },
    chart("Throughput", "rows a second", LAYERS.map(line(rates))),
    chart("Lag", "rows behind bronze", ["silver", "gold"].map(line(lags))));
}

/** What became of the records, and some of those that were refused. */
function quality(of, rejects) {
  const fates = of ? FATES.map((fate) => [fate, of[fate]]) : [];
  const failed = of ? of.failed_rules : [];
  const rules = failed.map(([rule, count]) => ({
    bad: count > 0,
    cells: [rule, number(of.judged - count), number(count), percent(count, of.judged)],
  }));
  const examples = rejects.map((row) => ({
    cells: [row.reason, row.rules.join(", "), row.detail, `${row.partition} ${number(row.offset)}`, row.value ?? "–"],
  }));
  return [
    make("div", { class: "row" },
      make("section", { class: "card" }, make("h3", {}, "What became of the records"),
        table(["fate", "records", "share"], fates.map(([fate, count]) => ({ cells: [fate, number(count), percent(count, of.records)] })), { numbers: [1, 2] })),
      make("section", { class: "card" }, make("h3", {}, "Rules"),
        rules.length ? table(["rule", "passed", "failed", "share"], rules, { numbers: [1, 2, 3] }) : make("p", { class: "quiet" }, "none has judged a record"))),
    make("section", { class: "card" }, make("h3", {}, "Newest rejects"),
      examples.length ? table(["reason", "rules", "detail", "record", "value"], examples, { value: 4, kind: "examples" }) : make("p", { class: "quiet" }, "none")),
  ];
}

function gold(of) {
  const rows = of.rows.map((row) => ({ cells: of.columns.map((column) => String(row[column] ?? "–")) }));
  const numbers = of.columns.map((_, at) => at).filter((at) => of.rows.some((row) => typeof row[of.columns[at]] === "number"));
  return make("section", { class: "card" }, make("h3", {}, `Newest rows of ${of.table}`),
    rows.length ? table(of.columns, rows, { numbers, kind: "values" }) : make("p", { class: "quiet" }, "no window has closed yet"));
}

function pipeline(of, now) {
  const wrong = of.trouble ? trouble(of.trouble, of.next) : null;
  const known = of.layers.length ? of.layers.map((standing) => layer(of, standing)) : fares(of).map((fare) => card(fare.layer, fare.layer, fare));
  const layers = known.length ? make("div", { class: "row" }, ...known) : make("p", { class: "quiet" }, "no table yet");
  const more = of.layers.length ? [charts(of, now), ...quality(of.quality, of.rejects), ...of.gold.map(gold)] : [];
  return make("article", {}, make("h2", {}, of.pipeline), wrong, layers, ...more);
}

function show(status) {
  document.getElementById("about").textContent = `${status.version} · ${status.lake} · ${moment(status.now)} UTC`;
  document.getElementById("pipelines").replaceChildren(...status.pipelines.map((of) => pipeline(of, status.now)));
  const bad = status.pipelines.some((of) => of.trouble || fares(of).some((fare) => !(fare.state in WELL)));
  document.title = bad ? "(!) medallion" : "medallion";
}

let answered = null;
async function look() {
  const trouble = document.getElementById("trouble");
  try {
    const answer = await fetch("status.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    show(await answer.json());
    answered = new Date();
    trouble.hidden = true;
  } catch (error) {
    const since = answered ? `since ${moment(answered.toISOString())} UTC, what is shown is as old` : "yet";
    trouble.textContent = `no answer ${since}: ${error.message}`;
    trouble.hidden = false;
  }
  setTimeout(look, EVERY_MS);
}
look();
