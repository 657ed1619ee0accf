/* The answer while drawing: how long the capsule of each class is, or how probable a class is. */

import {latest, post} from "./api.js";
import {button, byId, h, say} from "./dom.js";
import {Panel} from "./panel.js";
import {isBlank, paint, toSend} from "./pixels.js";
import {choose, className, emit, model, on, state, theClass, trueLabels} from "./store.js";
import {fixed, greatest, list, quantile} from "./words.js";

let panel, bars, verdict, redrawn, redrawnText, follow;
let rows = [];
const times = [];

/* Milliseconds from each change of the image to its answer on the screen, the last 400. */
export const answerTimes = times;

function buildRows() {
    rows = model().classes.map((name, j) => {
        const bar = h("div", {class: "bar-fill"}), value = h("span", {class: "bar-value"});
        const row =
            button([h("span", {class: "bar-name"}, name), h("span", {class: "bar"}, bar), value],
                () => choose(state.chosen === j ? null : j),
                {class: "bar-row", "aria-pressed": "false"});
        return {row, bar, value};
    });
    bars.replaceChildren(...rows.map(({row}) => h("li", {}, row)));
    const longest = Math.max(...model().classes.map((name) => name.length));
    bars.style.setProperty("--name", `${Math.min(8, longest + 0.5)}ch`);
    bars.classList.toggle("many", rows.length > 12);
    bars.setAttribute("aria-label",
        model().kind === "cnn" ? "Probability of each class" : "Length of each class capsule");
}

function showBars() {
    const {lengths} = state.prediction, chosen = theClass();
    rows.forEach(({row, bar, value}, j) => {
        bar.style.setProperty("--share", String(Math.min(1, Math.max(0, lengths[j]))));
        value.textContent = fixed(lengths[j]);
        row.classList.toggle("winner", j === state.prediction.label);
        row.classList.toggle("chosen", state.chosen === j);
        row.setAttribute("aria-pressed", String(j === state.chosen));
        row.setAttribute("aria-label", `${className(j)}: ${fixed(lengths[j])}`);
    });
    follow.hidden = state.chosen === null;
    follow.textContent = `Back from ${className(chosen)} to the answer`;
}

function judge() {
    if (isBlank(state.image))
        return "Nothing is drawn: these are the answers to an empty image.";
    const {lengths, label} = state.prediction, cnn = model().kind === "cnn";
    const truth = trueLabels();
    const two = greatest(lengths, 2), name = className(label);
    const found = truth.length > 1 ? list(greatest(lengths, truth.length).map(className)) : name;
    let text = `It takes this for ${found}`;
    if (truth.length > 1)
        text += truth.every((t) => greatest(lengths, truth.length).includes(t))
            ? ": both are right."
            : `; the data say ${list(truth.map(className))}.`;
    else if (truth.length)
        text += truth[0] === label ? ", which is right." : `; the data say ${className(truth[0])}.`;
    else if (lengths[label] < 0.5)
        text += ", but is not sure: " +
            `${cnn ? "the probability" : "the capsule’s length"} is below 0.5.`;
    else if (lengths[two[1]] > 0.5)
        text += `, and sees ${className(two[1])} in it too.`;
    else
        text += ".";
    return text;
}

function showRedrawn() {
    const {reconstruction} = state.prediction;
    const figure = redrawn.closest("figure");
    figure.hidden = !reconstruction;
    if (!reconstruction)
        return;
    const image = [reconstruction].flat(2);
    paint(redrawn, image, model().input);
    redrawn.setAttribute(
        "aria-label", `What the decoder draws from the capsule of ${className(theClass())}`);
    redrawnText.textContent = `drawn from the capsule of ${className(theClass())} alone`;
}

function show(answer, asked) {
    state.prediction = answer;
    showBars();
    showRedrawn();
    verdict.textContent = judge();
    say(judge());
    times.push(performance.now() - asked.begun);
    if (times.length > 400)
        times.shift();
    byId("timing").textContent =
        `Last answer ${fixed(times.at(-1), 0)} ms after the change; of the last ` +
        `${times.length}, half within ${fixed(quantile(times, 0.5), 0)} ms ` +
        `and 95 % within ${fixed(quantile(times, 0.95), 0)} ms.`;
    emit("prediction", {live: asked.live});
}

const ask = latest(({body}, order) => post("/api/predict", {...body, ...order}), show);

function request(live) {
    if (!state.image)
        return;
    const body = {model: state.index, image: toSend(state.image)};
    if (state.chosen !== null && model().decoder)
        body.reconstruct_class = state.chosen;
    ask({body, live, begun: performance.now()});
}

function setWords() {
    byId("input-title").textContent =
        model().classes.every((name) => /^\d$/.test(name)) ? "Draw a digit" : "Draw";
    const cnn = model().kind === "cnn", matrix = model().kind === "matrix";
    byId("answer-title").textContent = cnn ? "Probabilities"
        : matrix                           ? "Activations"
                                           : "Capsule lengths";
    byId("answer-title").title = cnn
        ? "The probability of each class; together they make 1"
        : `The ${matrix ? "activation" : "length"} of each class capsule: how ` +
            "sure the network is that its class is there";
}

export function begin() {
    bars = h("ul", {class: "bars"});
    verdict = h("p", {class: "verdict"});
    redrawn = h("canvas", {role: "img"});
    redrawnText = h("figcaption", {class: "quiet"});
    follow = button("", () => choose(null), {class: "link", hidden: true});
    panel = new Panel("answer", {
        idea: "",
        update: () => {},
        csv: () => [["class", model().kind === "cnn" ? "probability" : "length"],
            ...state.prediction.lengths.map((v, j) => [className(j), v])]
    });
    panel.body.append(
        bars, verdict, follow, h("figure", {class: "redrawn", hidden: true}, redrawn, redrawnText));
    buildRows();
    setWords();
    on("image", ({live}) => request(live));
    on("class", () => request(false));
    on("model", () => {
        ask.forget();
        if (state.chosen !== null && state.chosen >= model().classes.length)
            state.chosen = null;
        buildRows();
        setWords();
    });
}
