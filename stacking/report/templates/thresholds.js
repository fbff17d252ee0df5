"use strict";
// Each label has a table of thresholds with what is predicted at and above them. A slider moves a threshold on the
// scale of log-odds, where a step means as much near 0 and 1 as in the middle; the lowest threshold of the table that is
// not below it is taken, so that every number shown is a count of the held-out samples.
const data = JSON.parse(document.getElementById("data").textContent);
const numbers = (text) => new Float64Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const [threshold, hits, fired, positives] = ["threshold", "hits", "fired", "positives"].map((key) => numbers(data[key]));
const bands = ["frequent", "middle", "rare"];
const MOST_SHOWN = 120; // controls of single labels at a time: more would be slow to draw
const ORDER = [3, 4, 5, 6, 0, 1, 2]; // rates before counts: a phone shows the first columns only
const REACH = 6; // a slider's ends, in log-odds: from .5 to .0025 and .9975

const shift = { all: 0, bands: [0, 0, 0], labels: new Float64Array(data.labels.length) };
const chosen = Int32Array.from(data.chosen);
const count = (value) => Math.round(value).toLocaleString("en-US");
const score = (value) => {
  if (Number.isNaN(value)) return "–";
  const text = Math.abs(value).toFixed(3).replace(/^0/, "");
  return value < 0 && /[1-9]/.test(text) ? `−${text}` : text;
};
const gain = (value) => (value > 0 ? "+" : value < 0 ? "−" : "±") + score(Math.abs(value));
const logit = (value) => Math.log(value / (1 - value));

function lineOf(label) {
  const moved = shift.all + shift.bands[data.bands[label]] + shift.labels[label];
  if (moved === 0) return data.chosen[label];
  const [first, last] = [data.start[label], data.start[label + 1] - 1]; // the last line is "never"
  if (first === last || (data.chosen[label] === last && moved > 0)) return last;
  const from = Math.min(data.chosen[label], last - 1);
  const bounded = Math.min(Math.max(threshold[from], 1e-6), 1 - 1e-6);
  const wanted = 1 / (1 + Math.exp(-(logit(bounded) + moved)));
  let line = first;
  while (line < last && threshold[line] < wanted) line += 1;
  return line;
}

function rates(found, predicted, positive) {
  return [
    found, predicted - found, positive - found,
    predicted > 0 ? found / predicted : NaN,
    positive > 0 ? found / positive : NaN,
    predicted + positive > 0 ? (2 * found) / (predicted + positive) : 0,
  ];
}

function total(lines, members) {
  let [found, predicted, positive, sum] = [0, 0, 0, 0];
  for (const label of members) {
    found += hits[lines[label]];
    predicted += fired[lines[label]];
    positive += positives[label];
    sum += rates(hits[lines[label]], fired[lines[label]], positives[label])[5];
  }
  return [...rates(found, predicted, positive), members.length ? sum / members.length : NaN];
}

const everyone = data.labels.map((_, label) => label);
const parts = [["all", everyone], ...bands.map((name, band) => [name, everyone.filter((l) => data.bands[l] === band)])]
  .filter(([, members]) => members.length);
const tuned = parts.map(([, members]) => total(data.chosen, members));

const body = document.querySelector("#totals tbody");
for (const [name] of parts) {
  const row = body.insertRow();
  row.insertCell().textContent = name;
  for (let column = 0; column < 7; column += 1) row.insertCell().className = "n";
}

function control(name, get, set, describe) {
  const box = document.createElement("div");
  box.className = "control";
  const [title, input, value, counts] = ["span", "input", "span", "span"].map((kind) => document.createElement(kind));
  title.className = "name";
  title.textContent = name;
  Object.assign(input, { type: "range", min: -REACH, max: REACH, step: 0.05, value: get() });
  input.setAttribute("aria-label", `${name}: recall to the left, precision to the right`);
  value.className = "value";
  counts.className = "counts";
  box.append(title, input, value, counts);
  const show = () => {
    input.value = get();
    const [short, long] = describe();
    value.textContent = short;
    counts.textContent = long;
    input.setAttribute("aria-valuetext", `${short} ${long}`);
  };
  input.addEventListener("input", () => {
    // The middle of the slider is its own place again, whatever the rounding of its steps.
    set(Math.abs(Number(input.value)) < 0.025 ? 0 : Number(input.value));
    update();
  });
  return { box, show };
}

const positivesOf = (members) => {
  const numbersOf = members.map((label) => positives[label]);
  return `${members.length} labels with ${count(Math.min(...numbersOf))} to ${count(Math.max(...numbersOf))} positives`;
};
const groupControls = parts.map(([name, members], place) => {
  const band = bands.indexOf(name);
  return control(
    name === "all" ? "all labels" : `${name} labels`,
    () => (band < 0 ? shift.all : shift.bands[band]),
    (value) => { if (band < 0) shift.all = value; else shift.bands[band] = value; },
    () => [gain(band < 0 ? shift.all : shift.bands[band]).replace(/0$/, ""), place ? positivesOf(members) : ""],
  );
});
document.getElementById("groups").append(...groupControls.map(({ box }) => box));

const byFrequency = everyone.slice().sort((a, b) => positives[b] - positives[a] || a - b);
let labelControls = [];
function listLabels() {
  const wanted = document.getElementById("filter").value.toLowerCase();
  const found = byFrequency.filter((label) => data.shown[label].toLowerCase().includes(wanted));
  labelControls = found.slice(0, MOST_SHOWN).map((label) => control(
    data.shown[label],
    () => shift.labels[label],
    (value) => { shift.labels[label] = value; },
    () => {
      const line = chosen[label];
      const [tp, fp, fn, precision, recall, f1] = rates(hits[line], fired[line], positives[label]);
      const limit = threshold[line] === Infinity ? "never" : score(threshold[line]);
      return [limit, `${count(tp)} found, ${count(fp)} wrong, ${count(fn)} missed · precision ${score(precision)}, ` +
        `recall ${score(recall)}, F1 ${score(f1)}`];
    },
  ));
  document.getElementById("labels").replaceChildren(...labelControls.map(({ box }) => {
    const item = document.createElement("li");
    item.append(box);
    return item;
  }));
  const hidden = found.length - labelControls.length;
  document.getElementById("left-out").textContent = hidden
    ? `The ${MOST_SHOWN} most frequent of ${count(found.length)} labels; write part of a name to see others.` : "";
}

function update() {
  for (const label of everyone) chosen[label] = lineOf(label);
  parts.forEach(([, members], place) => {
    const now = total(chosen, members);
    const cells = body.rows[place].cells;
    ORDER.forEach((which, column) => {
      cells[column + 1].textContent = which < 3 ? count(now[which]) : score(now[which]);
      cells[column + 1].dataset.v = now[which];
    });
    if (place === 0) {
      document.getElementById("changes").textContent = `Against the tuned thresholds: precision ` +
        `${gain(now[3] - tuned[0][3] || 0)}, recall ${gain(now[4] - tuned[0][4] || 0)}, ` +
        `micro-F1 ${gain(now[5] - tuned[0][5])}, macro-F1 ${gain(now[6] - tuned[0][6])}.`;
    }
  });
  for (const { show } of [...groupControls, ...labelControls]) show();
  // A number that JSON keeps whole: read again it is the same threshold.
  const lines = data.labels.map((name, label) => {
    const limit = threshold[chosen[label]];
    return `  ${JSON.stringify(name)}: ${limit === Infinity ? "null" : limit}`;
  });
  document.getElementById("file").value =
    `{"format": "labelstack thresholds", "thresholds": {\n${lines.join(",\n")}\n}}\n`;
  document.getElementById("copied").textContent = "";
}

document.getElementById("filter").addEventListener("input", () => { listLabels(); update(); });
document.getElementById("reset").addEventListener("click", () => {
  shift.all = 0;
  shift.bands.fill(0);
  shift.labels.fill(0);
  update();
});
document.getElementById("copy").addEventListener("click", async () => {
  const file = document.getElementById("file");
  const said = document.getElementById("copied");
  try {
    await navigator.clipboard.writeText(file.value);
    said.textContent = "Copied.";
  } catch {
    file.select();
    said.textContent = document.execCommand("copy") ? "Copied." : "Selected: copy it with your keyboard.";
  }
});
listLabels();
update();
