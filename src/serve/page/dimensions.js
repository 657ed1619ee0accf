/* The numbers of a class capsule: sliders with live reconstruction, and strips of small pictures.
 * Matrix capsules without a decoder show their poses instead (poses.js). */

import {register, remember} from "./address.js";
import {attempt, latest, post} from "./api.js";
import {button, choice, h, range} from "./dom.js";
import {paint} from "./pixels.js";
import {Panel} from "./panel.js";
import {showPoses} from "./poses.js";
import {rangesOf, spanOf} from "./ranges.js";
import {choose, className, model, on, state, theClass} from "./store.js";
import {fixed, steps} from "./words.js";

const STRIP = 9;
let panel, chooser, inputPicture, drawnPicture, note, sliderBox, stripBox, sheetBox, poseBox,
    figureBox;
let sliders = [], values = [], ranges = null, about = -1, active = 0, edited = new Map();

const capsulesNow = () => state.prediction.capsules.map((v, j) => (j === about ? values : v));

const decode =
    latest((body, order) => post("/api/decode", {...body, ...order}), ({reconstruction}) => {
        paint(drawnPicture, reconstruction, model().input);
    });

/* A stroke must not wait for strips: they are asked for at its end. */
const sweep = latest((body, order) => post("/api/sweep", {...body, ...order}),
    ({reconstructions}, body) => showStrip(stripBox, body.dimension, body.values, reconstructions));

function decodeNow() {
    /* The answer has brought the drawing of unchanged numbers along. */
    const {label, reconstruction} = state.prediction;
    if (edited.size === 0 && reconstruction && about === (state.chosen ?? label)) {
        decode.forget();
        return paint(drawnPicture, [reconstruction].flat(2), model().input);
    }
    return decode({model: state.index, capsules: capsulesNow(), class: about});
}

function sweepValues(d) {
    const [low, high] =
        ranges ? [ranges.low[d], ranges.high[d]] : [values[d] - 0.25, values[d] + 0.25];
    return steps(low, high, STRIP);
}

function askStrip() {
    if (model().decoder && panel.visible)
        sweep({
            model: state.index,
            capsules: capsulesNow(),
            class: about,
            dimension: active,
            values: sweepValues(active)
        });
}

function showStrip(box, d, at, images) {
    const nearest = at.reduce(
        (best, v, i) => (Math.abs(v - values[d]) < Math.abs(at[best] - values[d]) ? i : best), 0);
    box.replaceChildren(h("p", {}, h("strong", {}, `Number ${d + 1}`),
                            ` from ${fixed(at[0])} to ${fixed(at.at(-1))}, the others unchanged. ` +
                                "Framed: the nearest to this image."),
        h("div", {class: "strip"},
            images.map((image, i) => thumbnail(d, at[i], image, i === nearest))));
}

function thumbnail(d, v, image, nearest) {
    const canvas = h("canvas", {role: "img", "aria-label": `Number ${d + 1} at ${fixed(v)}`});
    paint(canvas, image, model().input);
    return button([canvas, h("span", {}, fixed(v))], () => {
        set(d, v);
        sliders[d].show(v);
    }, {class: nearest ? "thumb here" : "thumb"});
}

function set(d, v) {
    values[d] = v;
    edited.set(d, v);
    if (d !== active)
        activate(d);
    decodeNow();
    remember();
}

function activate(d) {
    active = d;
    sliders.forEach(({element}, k) => element.classList.toggle("active", k === d));
    askStrip();
}

function mark(slider, d) {
    const [low, high] = [Number(slider.input.min), Number(slider.input.max)];
    const at = (v) => `calc(8px + ${(v - low) / (high - low)} * (100% - 16px))`;
    const track = h("div", {class: "track"});
    slider.input.replaceWith(track);
    if (ranges) {
        const band = h("div", {class: "band"});
        band.style.left = at(ranges.low[d]);
        band.style.width =
            `calc(${(ranges.high[d] - ranges.low[d]) / (high - low)} * (100% - 16px))`;
        track.append(band);
    }
    const tick = h("div", {class: "tick"});
    slider.place = (v) => {
        tick.style.left = at(v);
    };
    slider.place(state.prediction.capsules[about][d]);
    track.append(tick, slider.input);
}

function buildSliders() {
    sliders = values.map((value, d) => {
        const [low, high] = spanOf(ranges, d, state.prediction.capsules[about][d]);
        const slider = range({
            label: String(d + 1),
            min: low,
            max: high,
            step: (high - low) / 200,
            value,
            format: fixed,
            oninput: (v) => set(d, v)
        });
        slider.input.setAttribute("aria-label", `Number ${d + 1} of ${values.length}`);
        slider.input.addEventListener("focus", () => activate(d));
        mark(slider, d);
        return slider;
    });
    sliderBox.replaceChildren(...sliders.map(({element}) => element));
    sliders[active]?.element.classList.add("active");
}

async function sheet() {
    const box = h("div", {class: "sheet"});
    sheetBox.replaceChildren(
        h("p", {class: "quiet"}, "Each row is one number, from low to high."), box);
    for (let d = 0; d < values.length; d++) {
        const at = sweepValues(d);
        const answer = await attempt(post("/api/sweep",
            {model: state.index, capsules: capsulesNow(), class: about, dimension: d, values: at}));
        if (!answer)
            return;
        box.append(h("span", {class: "sheet-name"}, String(d + 1)),
            ...answer.reconstructions.map((image, i) => {
                const canvas =
                    h("canvas", {role: "img", "aria-label": `Number ${d + 1} at ${fixed(at[i])}`});
                paint(canvas, image, model().input);
                return canvas;
            }));
    }
}

function reset() {
    edited.clear();
    values = [...state.prediction.capsules[about]];
    buildSliders();
    decodeNow();
    askStrip();
    remember();
}

function showNote() {
    const {n} = ranges || {};
    note.textContent = ranges
        ? `The pale band is where 96 % of ${n} images of class ` +
            `${className(about)} lie; the mark is this image.`
        : "Without a data set there is no range to show; the mark is this image.";
}

/* The sliders that are there, where the values of a new image fit on them. */
function moveSliders() {
    const now = state.prediction.capsules[about];
    if (sliders.length !== now.length || sliders.some(({input}, d) =>
        now[d] < Number(input.min) || now[d] > Number(input.max)))
        return false;
    sliders.forEach((slider, d) => {
        slider.show(values[d]);
        slider.place(now[d]);
    });
    return true;
}

async function update(live) {
    if (!state.prediction?.capsules)
        return;
    const j = theClass(), known = await rangesOf(j);
    if (!state.prediction.capsules || j !== theClass())
        return;
    const same = about === j, sameRanges = same && ranges === known;
    about = j;
    ranges = known;
    if (!same && !pendingEdits)
        edited.clear();
    pendingEdits = false;
    values = [...state.prediction.capsules[j]];
    edited.forEach((v, d) => {
        if (d < values.length)
            values[d] = v;
    });
    active = Math.min(active, values.length - 1);
    chooser.select.value = state.chosen === null ? "" : String(state.chosen);
    chooser.select.options[0].textContent =
        `the network’s answer (${className(state.prediction.label)})`;
    if (!model().decoder)
        return showPoses(poseBox, j);
    paint(inputPicture, state.image, model().input);
    if (!sameRanges || !moveSliders())
        buildSliders();
    showNote();
    decodeNow();
    if (!live)
        askStrip();
}

let pendingEdits = false;

function applies() {
    const {kind, decoder, capsules} = model();
    if (kind === "cnn" || !capsules)
        return "This model is a plain CNN. It has one number for each class and no " +
            "capsules, so there is nothing to turn here.";
    panel.section.querySelector("h2").textContent = decoder ? "What a capsule’s numbers say"
        : kind === "matrix"                                 ? "The pose of each capsule"
                                                            : "The numbers of each capsule";
    panel.setIdea(decoder ? `A capsule is more than its length. Its ${capsules.size} numbers say ` +
                "how the thing looks: how thick, how slanted, how wide. Move one and " +
                "see what the decoder draws."
            : kind === "matrix"
            ? "A matrix capsule holds a pose, a matrix of 4 by 4 numbers, beside " +
                "its activation. This model has no decoder, so nothing can be drawn " +
                "from a pose; watch how it changes with the image."
            : "This model has no decoder, so nothing can be drawn from the numbers; " +
                "watch how they change with the image.");
    figureBox.hidden = !decoder;
    poseBox.hidden = decoder;
    return null;
}

function buildChooser() {
    const made = choice("Capsule of",
        [["", "the network’s answer"], ...model().classes.map((name, j) => [j, name])],
        state.chosen ?? "", (v) => choose(v === "" ? null : Number(v)));
    chooser?.element.replaceWith(made.element);
    chooser = made;
}

function changeModel() {
    about = -1;
    sheetBox.replaceChildren();
    buildChooser();
    panel.setAbsent(applies());
    panel.need();
}

function table() {
    const c = state.prediction.capsules;
    return [
        ["class", "length", ...values.map((_, d) => `number ${d + 1}`)],
        ...c.map(
            (v, j) => [className(j), state.prediction.lengths[j], ...(j === about ? values : v)])
    ];
}

export function begin() {
    panel = new Panel("dimensions", {idea: "", update, csv: table});
    inputPicture = h("canvas", {role: "img", "aria-label": "The input"});
    drawnPicture = h("canvas", {role: "img", "aria-label": "What the decoder draws"});
    note = h("p", {class: "quiet"});
    sliderBox = h("div", {class: "sliders"});
    stripBox = h("div", {class: "strip-box"});
    sheetBox = h("div", {class: "sheet-box"});
    poseBox = h("div", {class: "poses", hidden: true});
    buildChooser();
    figureBox = h("div", {},
        h("div", {class: "dimension-figure"},
            h("div", {class: "two-pictures"},
                h("figure", {}, inputPicture, h("figcaption", {}, "input")),
                h("figure", {}, drawnPicture, h("figcaption", {}, "drawn from the numbers"))),
            h("div", {}, sliderBox, note)),
        stripBox,
        h("div", {class: "tools"},
            button("Back to this image’s numbers", reset, {id: "numbers-reset"}),
            button("All numbers as pictures", sheet, {id: "numbers-sheet"})),
        sheetBox);
    panel.body.append(h("div", {class: "tools"}, chooser.element), figureBox, poseBox);
    panel.setAbsent(applies());
    on("prediction", ({live}) => {
        if (!pendingEdits)
            edited.clear();
        if (live)
            panel.needNow();
        else
            panel.need();
        if (live)
            sheetBox.replaceChildren();
    });
    on("model", changeModel);
    register(
        "dims", () => [...edited].map(([d, v]) => `${d}:${v.toFixed(3)}`).join(","), (text) => {
            edited = new Map(
                text.split(",").map((part) => part.split(":").map(Number)).filter(([d,
                    v]) => Number.isInteger(d) && d >= 0 && Number.isFinite(v)));
            pendingEdits = edited.size > 0;
        });
}
