// The page: asks the service it came from, and nobody else. What comes back is only ever text.

const AT_ONCE = 4; // requests
const TOP = 5; // classes shown
const SIDE = 448; // pixels of a picture as it is drawn

const at = (id) => document.getElementById(id);
const shown = []; // what was dropped in, newest first
const waiting = [];
let running = 0;
let model = null;
let moved = false; // whether the slider was
let learning = 0; // the timer of the next look at the service

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;

function made(tag, text, kind) {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

async function reasonOf(answer) {
  try {
    return (await answer.json()).error || `The service answered ${answer.status}.`;
  } catch {
    return `The service answered ${answer.status}.`;
  }
}

async function ask(file, words) {
  const query = new URLSearchParams({ top: TOP, ...words });
  const kind = file.type.startsWith("image/") ? file.type : "image/unknown";
  const answer = await fetch(`/predict?${query}`, {
    method: "POST",
    body: file,
    headers: { "Content-Type": kind },
  });
  if (!answer.ok) throw new Error(await reasonOf(answer));
  return (await answer.json()).answers[0];
}

// The square that the model sees, with the grid of its tokens.
function draw(entry) {
  const canvas = entry.canvas;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, SIDE, SIDE);
  if (entry.picture && model) {
    const { width, height } = entry.picture;
    const side = Math.min(width, height) * model.crop_ratio;
    const [left, top] = [(width - side) / 2, (height - side) / 2];
    context.drawImage(entry.picture, left, top, side, side, 0, 0, SIDE, SIDE);
  }
  const grid = entry.answer?.grid ?? [];
  if (grid.length !== 2 || !at("grid").checked) return;
  const [rows, columns] = grid;
  for (const [width, colour] of [[5, "#0008"], [2, "#fff"]]) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.beginPath();
    for (let row = 1; row < rows; row++) {
      context.moveTo(0, (SIDE * row) / rows);
      context.lineTo(SIDE, (SIDE * row) / rows);
    }
    for (let column = 1; column < columns; column++) {
      context.moveTo((SIDE * column) / columns, 0);
      context.lineTo((SIDE * column) / columns, SIDE);
    }
    context.stroke();
  }
}

function facts(answer) {
  const grid = answer.grid.length === 2 ? ` (${answer.grid.join(" × ")})` : "";
  const times = `waited ${answer.waited_ms.toFixed(1)} ms, ran ${answer.run_ms.toFixed(1)} ms`;
  return `${answer.length} tokens${grid}; ${times}`;
}

function show(entry) {
  const { answer, longest, error } = entry;
  const parts = error && !entry.picture ? [] : [entry.canvas];
  if (error) {
    const told = made("p", error, "wrong");
    told.setAttribute("role", "alert");
    parts.push(made("h2", entry.file.name), told);
  } else if (!answer) {
    parts.push(made("h2", entry.file.name), made("p", "Asking.", "facts"));
  } else {
    parts.push(made("h2", answer.class), made("p", facts(answer), "facts"));
    const bars = made("ul", "", "bars");
    for (const one of answer.top) {
      const row = made("li");
      const meter = made("meter");
      meter.value = one.probability;
      meter.setAttribute("aria-hidden", "true");
      row.append(made("span", one.class), made("span", percent(one.probability)), meter);
      bars.append(row);
    }
    parts.push(bars);
  }
  if (!error && answer && longest) {
    const same = longest.class === answer.class ? "the same" : longest.class;
    const words = `Longest: ${same}, ${percent(longest.probability)}; ${facts(longest)}`;
    parts.push(made("p", words, "facts longest"));
  }
  const label = error ? "could not be answered" : answer ? answer.class : "asking";
  entry.canvas.setAttribute("aria-label", `${entry.file.name}: ${label}`);
  entry.item.replaceChildren(...parts);
  entry.item.dataset.state = error ? "error" : answer ? "answered" : "asking";
  entry.item.dataset.length = answer?.length ?? "";
  draw(entry);
}

async function answerOne(entry) {
  const turn = ++entry.turn;
  const budget = moved ? { max_cost: model.budgets[Number(at("cost").value)].cost } : {};
  try {
    const [answer, longest] = await Promise.all([
      ask(entry.file, budget),
      at("longest").checked ? ask(entry.file, { length: "longest" }) : null,
    ]);
    if (turn !== entry.turn) return; // asked again since
    Object.assign(entry, { answer, longest, error: "" });
  } catch (error) {
    if (turn !== entry.turn) return;
    const lost = error instanceof TypeError ? "The service can't be reached." : error.message;
    Object.assign(entry, { answer: null, longest: null, error: lost });
  }
  show(entry);
}

async function work() {
  if (running >= AT_ONCE || !waiting.length) return;
  running++;
  await answerOne(waiting.shift());
  running--;
  if (!running && !waiting.length) {
    const wrong = shown.filter((entry) => entry.error).length;
    const right = shown.length - wrong;
    at("status").textContent = shown.length
      ? `${right} answered${wrong ? `, ${wrong} refused` : ""}.`
      : "";
    learn();
  }
  work();
}

function askFor(entries) {
  if (!model) return;
  for (const entry of entries) if (!waiting.includes(entry)) waiting.push(entry);
  if (waiting.length) at("status").textContent = `Asking for ${waiting.length}.`;
  for (let i = 0; i < AT_ONCE; i++) work();
}

function add(files) {
  const entries = [...files].map((file) => {
    const canvas = made("canvas");
    canvas.width = canvas.height = SIDE;
    canvas.setAttribute("role", "img");
    return { file, canvas, item: made("li"), turn: 0, answer: null, longest: null, error: "" };
  });
  for (const entry of entries) {
    shown.unshift(entry);
    at("answers").prepend(entry.item);
    show(entry);
    createImageBitmap(entry.file).then(
      (picture) => {
        entry.picture = picture;
        draw(entry);
      },
      () => {}, // a kind that the browser can't show; the service may read it
    );
  }
  askFor(entries);
}

function clear() {
  waiting.length = 0;
  for (const entry of shown.splice(0)) {
    entry.turn++;
    entry.picture?.close();
  }
  at("answers").replaceChildren();
  at("status").textContent = "";
  at("files").value = "";
}

function describeBudget() {
  const budget = moved ? model.budgets[Number(at("cost").value)] : model.expected;
  const mix = model.lengths
    .map((length, i) => [budget.mix[i], length.name])
    .filter(([share]) => share > 0)
    .map(([share, name]) => `${percent(share)} at ${name} tokens`)
    .join(", ");
  const drop = budget.drop.toFixed(1).replace("-0.0", "0.0");
  const words =
    `${percent(budget.cost)} of the work; ${drop} points lost` +
    ` on ${model.calibrated_on.toLocaleString("en")} images; ${mix}`;
  at("expected").textContent = (moved ? "" : "The service's own: ") + words;
  at("cost").setAttribute("aria-valuetext", words);
}

function nearest(budgets, cost) {
  let best = 0;
  budgets.forEach((budget, i) => {
    if (Math.abs(budget.cost - cost) < Math.abs(budgets[best].cost - cost)) best = i;
  });
  return best;
}

function describe(about) {
  const first = !model;
  model = about.model;
  at("name").textContent = about.name;
  document.title = `${about.name}: each image at its own length`;
  const lengths = model.lengths.map((length) => length.name).join(", ");
  at("model").textContent =
    `${model.classes.length} classes; ${lengths} tokens; weights ${model.digest}` +
    (about.ready ? "" : "; not ready yet");
  if (first && model.budgets.length > 1 && model.expected) {
    at("budget").hidden = false;
    at("cost").max = model.budgets.length - 1;
    at("cost").value = nearest(model.budgets, model.expected.cost);
    describeBudget();
  }
  if (first) askFor(shown); // what was dropped in ahead of this
}

function warn(drift) {
  at("drift").hidden = !drift?.beyond;
  if (!drift?.beyond) return;
  const parts = ["lengths", "confidences"]
    .filter((of) => drift[of] > drift[`${of}_limit`])
    .map((of) => `${of} by ${percent(drift[of])} (at most ${percent(drift[`${of}_limit`])})`);
  at("drift").textContent =
    `The latest ${drift.images} images differ from those that the budget was set on: ` +
    `${parts.join(", ")}. It may not be kept. Calibrate anew with images like these.`;
}

async function learn() {
  clearTimeout(learning);
  try {
    const answer = await fetch("/about");
    if (!answer.ok) throw new Error(await reasonOf(answer));
    const about = await answer.json();
    if (about.model) describe(about);
    warn(about.drift);
    if (about.ready) return;
  } catch {
    at("model").textContent = "The service can't be reached.";
  }
  clearTimeout(learning); // others may have begun to learn meanwhile
  learning = setTimeout(learn, 1000);
}

at("files").addEventListener("change", () => add(at("files").files));
at("cost").addEventListener("input", () => {
  moved = true;
  describeBudget();
});
at("cost").addEventListener("change", () => askFor(shown));
at("longest").addEventListener("change", () => askFor(shown));
at("grid").addEventListener("change", () => shown.forEach(draw));
at("clear").addEventListener("click", clear);
for (const kind of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") add(event.dataTransfer.files);
  });
}
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) add(event.clipboardData.files);
});
learn();
