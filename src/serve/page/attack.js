/* An attack by the gradient (FGSM) on one model, or on two side by side, and the reconstruction
 * error as what gives it away. */

import {register, remember} from "./address.js";
import {post} from "./api.js";
import {curves, responsive} from "./charts.js";
import {choice, complain, h, range} from "./dom.js";
import {isBlank, paint, place, toSend} from "./pixels.js";
import {Panel} from "./panel.js";
import {dataImage} from "./source.js";
import {model, on, state, trueLabels} from "./store.js";
import {fixed, greatest, quantile, steps} from "./words.js";

const EPSILONS = steps(0, 0.3, 13);
const CLEAN = 40; /* test images that tell what a usual reconstruction error is */
let panel, columnBox, slider, scoreBox, errorBox, sentence, sourceChoice, drawScores, drawErrors;
let at = 2, gradientOf = "own", found = [], label = 0, labels = [], run = 0, asked = null,
    clean = new Map(), columns = [];

/* The model that is looked into, and the first other one beside it. */
function pair() {
    const other = state.models.find((m) => m.index !== state.index);
    return other ? [model(), other] : [model()];
}

const imageFor = (m) => {
    const {height, width, channels} = model().input;
    if (m.input.height === height && m.input.width === width && m.input.channels === channels)
        return state.image;
    return place(state.image, model().input, m.input);
};

async function attackOne(m, source, epsilon) {
    const one = await post("/api/attack",
        {model: source.index, image: toSend(imageFor(source)), label, labels, epsilon});
    if (source === m)
        return {image: one.image, prediction: one.prediction};
    const image = source.input.height === m.input.height ? one.image
                                                         : place(one.image, source.input, m.input);
    return {image, prediction: await post("/api/predict", {model: m.index, image: toSend(image)})};
}

/* Every epsilon for every model; drawn as they come. A newer run ends this one. */
async function runAll() {
    const mine = ++run, models = pair();
    asked = state.image;
    /* What is true: what the data say, else what the network says of the untouched image. */
    labels = greatest(state.prediction.lengths, model().labels ?? 1);
    if (trueLabels().length === labels.length)
        labels = trueLabels();
    label = labels[0];
    found = models.map(() => []);
    const order = [at, ...EPSILONS.keys()].filter((k, i, list) => list.indexOf(k) === i);
    for (const k of order)
        for (const [i, m] of models.entries()) {
            let one;
            try {
                one = await attackOne(
                    m, gradientOf === "own" ? m : models[Number(gradientOf)], EPSILONS[k]);
            } catch (error) {
                if (mine === run)
                    complain(`The attack could not be computed: ${error.message}.`);
                return;
            }
            if (mine !== run)
                return;
            found[i][k] = one;
            draw();
        }
    await measureClean();
    draw();
}

/* The reconstruction errors of some test images that nobody has touched. */
async function measureClean() {
    const m = pair().find((one) => one.decoder);
    if (!m || !state.data || clean.has(m.index))
        return;
    const errors = [], total = state.data.splits?.test || CLEAN;
    clean.set(m.index, errors);
    for (let n = 0; n < CLEAN; n++) {
        const image = await dataImage("test", Math.floor((n * total) / CLEAN));
        if (!image)
            return;
        const fits = m === model() ? image.image : place(image.image, model().input, m.input);
        const {reconstruction_error: e} =
            await post("/api/predict", {model: m.index, image: toSend(fits)});
        errors.push(e);
    }
}

function threshold() {
    const m = pair().find((one) => one.decoder), errors = m && clean.get(m.index);
    return errors?.length >= CLEAN / 2 ? quantile(errors, 0.95) : null;
}

function column(m, i) {
    const picture = h("canvas", {role: "img", "aria-label": `What ${m.name} is given`});
    const drawn = h("canvas", {role: "img", "aria-label": `What the decoder of ${m.name} draws`});
    const verdict = h("p", {}), bars = h("ul", {class: "bars short"}),
          error = h("p", {class: "quiet"});
    const element = h("div", {class: `attack-column model-${i}`}, h("h3", {}, m.name),
        h("div", {class: "two-pictures"}, h("figure", {}, picture, h("figcaption", {}, "input")),
            h("figure", {}, drawn, h("figcaption", {}, "drawn from its answer"))),
        bars, verdict, error);
    return {m, element, picture, drawn, verdict, bars, error};
}

function drawColumn({m, picture, drawn, verdict, bars, error}, one, first) {
    const p = one.prediction, name = (j) => m.classes[j];
    paint(picture, one.image, m.input);
    drawn.closest("figure").hidden = !p.reconstruction;
    if (p.reconstruction)
        paint(drawn, [p.reconstruction].flat(2), m.input);
    bars.replaceChildren(...greatest(p.lengths, 3).map((j) => {
        const bar = h("span", {class: "bar-fill"});
        bar.style.setProperty("--share", String(Math.min(1, p.lengths[j])));
        return h("li", {class: j === label ? "bar-row winner" : "bar-row"},
            h("span", {class: "bar-name"}, name(j)), h("span", {class: "bar"}, bar),
            h("span", {class: "bar-value"}, fixed(p.lengths[j])));
    }));
    const wasRight = first && first.prediction.label === label;
    verdict.textContent = p.label === label
        ? `Still ${name(label)}.`
        : `${wasRight ? "Fooled: it" : "It"} says ${name(p.label)}, not ` +
            `${name(label)}.`;
    verdict.className = p.label === label ? "" : "warn";
    const limit = threshold(), e = p.reconstruction_error;
    error.textContent = e === null || e === undefined
        ? "No decoder, so nothing to compare the input with."
        : limit === null ? `Reconstruction error ${fixed(e, 4)}.`
                         : `Reconstruction error ${fixed(e, 4)}: ` +
            `${e > limit ? "suspicious, more than" : "as usual, at most"} ` +
            `${fixed(limit, 4)}.`;
}

function nowAt(results) {
    return results[at] || results.filter(Boolean).at(-1);
}

function draw() {
    columns.forEach(
        (c, i) => found[i] && nowAt(found[i]) && drawColumn(c, nowAt(found[i]), found[i][0]));
    drawScores();
    drawErrors();
    drawSentence();
}

/* A model whose own gradient leaves the image as it is. */
const isStuck = (i) => gradientOf === "own" &&
    found[i].at(-1).image.every((v, p) => Math.abs(v - found[i][0].image[p]) < 1e-6);

function fate(m, i) {
    if (!done(i))
        return `${m.name}: computing …`;
    if (isStuck(i))
        return `${m.name} has no gradient here: the loss of this image is exactly 0, ` +
            "so FGSM finds no direction. That is no strength; another image, or " +
            "the other model’s gradient, may fool it.";
    const k = found[i].findIndex((one) => one.prediction.label !== label);
    return k < 0 ? `${m.name} is not fooled up to ε = ${fixed(EPSILONS.at(-1), 2)}.`
        : k === 0 ? `${m.name} is wrong without any attack.`
                  : `${m.name} is fooled from ε = ${fixed(EPSILONS[k], 3)} on.`;
}

function drawSentence() {
    const parts = pair().map(fate), limit = threshold(), i = pair().findIndex((m) => m.decoder);
    if (limit !== null && i >= 0 && done(i)) {
        const k = found[i].findIndex((one) => one.prediction.reconstruction_error > limit);
        parts.push(k < 0 ? "The reconstruction error stays within what is usual: the detector " +
                    "sees nothing."
                : k === 0
                ? "The detector speaks without any attack: the decoder draws this image " +
                    "worse than 95 of 100 test images."
                : `The detector speaks from ε = ${fixed(EPSILONS[k], 3)} on: the error ` +
                    "is then above that of 95 of 100 untouched test images.");
    }
    sentence.textContent = parts.join(" ");
}

const done = (i) => found[i]?.filter(Boolean).length === EPSILONS.length;

function scoreChart(width) {
    const models = pair();
    if (!models.every((_, i) => done(i)))
        return h("p", {class: "quiet"}, "…");
    return curves({
        at: EPSILONS,
        low: 0,
        high: 1,
        cursor: at,
        width,
        height: 190,
        xName: "ε, the most that a pixel may change",
        yName: `score of the true class, ${model().classes[label]}`,
        format: (v) => fixed(v, 2),
        label: "Score of the true class against epsilon",
        lines: models.map((m, i) => ({
            values: found[i].map((o) => o.prediction.lengths[label]),
            name: String.fromCharCode(65 + i),
            className: i ? "rival" : "chosen"
        }))
    });
}

function errorChart(width) {
    const models = pair(), i = models.findIndex((m) => m.decoder);
    if (i < 0 || !done(i))
        return h("p", {class: "quiet"}, i < 0 ? "" : "…");
    const errors = found[i].map((o) => o.prediction.reconstruction_error), limit = threshold();
    const high = 1.1 * Math.max(...errors, limit || 0);
    return curves({
        at: EPSILONS,
        low: 0,
        high,
        cursor: at,
        width,
        height: 190,
        xName: "ε",
        format: (v) => fixed(v, 2),
        yName: `reconstruction error of ${models[i].name}`,
        label: "Reconstruction error against epsilon",
        bands: limit ? [{low: 0, high: limit, className: "band-area"}] : [],
        lines: [{values: errors, name: "", className: i ? "rival" : "chosen"}]
    });
}

function build() {
    const models = pair();
    columns = models.map(column);
    columnBox.replaceChildren(...columns.map((c) => c.element));
    if (models.length > 1)
        columns.forEach(
            (c, i) => c.element.querySelector("h3").prepend(
                h("span", {class: `key model-${i}`}, String.fromCharCode(65 + i)), " "));
    const options =
        [["own", "each model’s own"], ...models.map((m, i) => [i, `${m.name}, for both`])];
    const made = choice("Gradient of", options, gradientOf, (v) => {
        gradientOf = v;
        runAll();
    });
    made.element.hidden = models.length < 2;
    sourceChoice?.replaceWith(made.element);
    sourceChoice = made.element;
    panel.setIdea([
        "FGSM moves every pixel by at most ε in the direction that hurts most. The eye sees " +
            "little; the network may see another class. A capsule network can draw what it " +
            "believes: where the drawing does not fit the input, something is wrong.",
        models.length > 1 ? "" : [
            " Start ", h("code", {}, "capscl serve"), " with ", h("code", {}, "--model"),
            " twice, a capsule network and a CNN, to see them side by side.",
        ],
    ]);
}

function csv() {
    const models = pair();
    return [
        [
            "epsilon",
            ...models.flatMap((m) => [`${m.name}: label`, `${m.name}: score of ${m.classes[label]}`,
                                  `${m.name}: reconstruction error`])
        ],
        ...EPSILONS.map((e, k) => [e, ...models.flatMap((m, i) => {
            const p = found[i]?.[k]?.prediction;
            return p ? [m.classes[p.label], p.lengths[label], p.reconstruction_error ?? ""]
                : ["", "", ""];
        })]),
    ];
}

export function begin() {
    panel = new Panel("attack", {
        idea: "",
        csv,
        update: () => {
            if (state.prediction && asked !== state.image)
                runAll();
        }
    });
    slider = range({
        label: "ε",
        min: 0,
        max: EPSILONS.length - 1,
        step: 1,
        value: at,
        format: (v) => fixed(EPSILONS[v], 3),
        oninput: (v) => {
            at = v;
            draw();
            remember();
        }
    });
    slider.input.setAttribute("aria-label", "Epsilon, the most that a pixel may change");
    sourceChoice = h("div", {});
    columnBox = h("div", {class: "attack-columns"});
    scoreBox = h("div", {class: "chart-box"});
    errorBox = h("div", {class: "chart-box"});
    sentence = h("p", {class: "verdict"});
    panel.body.append(h("div", {class: "tools wide"}, slider.element, sourceChoice), columnBox,
        sentence, h("div", {class: "two-charts"}, scoreBox, errorBox));
    drawScores = responsive(scoreBox, scoreChart);
    drawErrors = responsive(errorBox, errorChart);
    build();
    panel.setAbsent(state.data?.standardised
            ? "The images of these data have mean 0 and variance 1. Attacks are for " +
                "images from 0 to 1."
            : null);
    on("prediction", ({live}) => !isBlank(state.image) && panel.need(live));
    on("model", () => {
        run++;
        asked = null;
        found = [];
        gradientOf = "own";
        build();
        panel.need();
    });
    on("theme", () => found.length && draw());
    register("epsilon", () => (at === 2 ? "" : fixed(EPSILONS[at], 3)), (text) => {
        const k = EPSILONS.findIndex((e) => Math.abs(e - Number(text)) < 0.013);
        if (k >= 0) {
            at = k;
            slider.show(k);
        }
    });
}
