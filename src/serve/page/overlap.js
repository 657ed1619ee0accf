/* Two digits over one another, taken apart: the two longest capsules, each drawn in its colour. */

import {register, remember} from "./address.js";
import {attempt, latest, post} from "./api.js";
import {button, freshId, h, range, switcher} from "./dom.js";
import {blank, ink, paint, toSend, unit, warp} from "./pixels.js";
import {Panel} from "./panel.js";
import {dataImage, randomIndex} from "./source.js";
import {className, model, on, shape, state, trueLabels} from "./store.js";
import {fixed, greatest, list} from "./words.js";

let panel, modeSwitch, makerBox, canvases, captions, sentence, sliders;
let mode = "two", parts = [null, null], apart = {x: 6, y: 2}, result = null, made = null,
    begun = false;

const shifted = (image, dx, dy) => warp(image, shape(), shape(), (x, y) => [x - dx, y - dy]);

/* The two images where they lie: the first half the way to the left and up, the second to the
 * right and down. */
function moved() {
    const [a, b] = parts.map((p) => (p ? p.image : blank(shape())));
    return [
        shifted(a, -Math.floor(apart.x / 2), -Math.floor(apart.y / 2)),
        shifted(b, Math.ceil(apart.x / 2), Math.ceil(apart.y / 2))
    ];
}

function overlaid() {
    if (mode === "one")
        return {image: state.image, truth: trueLabels(), pair: null};
    const pair = moved();
    return {
        image: pair[0].map((v, p) => ink(Math.min(1, unit(v) + unit(pair[1][p])))),
        pair,
        truth: parts.flatMap((p) => (p ? p.labels : []))
    };
}

async function takeApart(input) {
    const prediction = await post("/api/predict", {model: state.index, image: toSend(input.image)});
    let classes = greatest(prediction.lengths, 2);
    /* The colours of the originals: where both are found, in their order. */
    if (input.truth.length === 2 && input.truth[0] === classes[1] && input.truth[1] === classes[0])
        classes = [classes[1], classes[0]];
    const drawn = !model().decoder
        ? null
        : await Promise.all(
              classes.map((j) => post("/api/decode",
                              {model: state.index, capsules: prediction.capsules, class: j})));
    return {input, prediction, classes, drawn: drawn && drawn.map((d) => d.reconstruction)};
}

const ask = latest(takeApart, (found) => {
    result = found;
    draw();
});

function request() {
    const input = overlaid();
    if (!input.image)
        return;
    made = input;
    drawInput();
    ask(input);
    remember();
}

function drawInput() {
    const s = shape();
    paint(canvases.input, made.image, s);
    canvases.truth.closest("figure").hidden = !made.pair;
    if (made.pair)
        paint(canvases.truth, made.pair[0], s, made.pair[1]);
}

function draw() {
    const {classes, prediction, drawn, input} = result, s = model().input, none = blank(s);
    const names = classes.map(className);
    for (const key of ["both", "first", "second"])
        canvases[key].closest("figure").hidden = !drawn;
    if (drawn) {
        paint(canvases.both, drawn[0], s, drawn[1]);
        paint(canvases.first, drawn[0], s, none);
        paint(canvases.second, none, s, drawn[1]);
    }
    [captions.first.textContent, captions.second.textContent] =
        classes.map((j, k) => `the ${names[k]}, ${fixed(prediction.lengths[j])} long`);
    const kind = model().kind === "cnn" ? "most probable classes"
        : model().kind === "matrix"     ? "most active capsules"
                                        : "longest capsules";
    let text = `The two ${kind} are ${list(names)}, with ` +
        `${list(classes.map((j) => fixed(prediction.lengths[j])))}.`;
    if (input.truth.length === 2)
        text += classes.every((j) => input.truth.includes(j))
            ? " Both are right."
            : ` The data say ${list(input.truth.map(className))}.`;
    if (!drawn)
        text += " Without a decoder they cannot be drawn apart.";
    sentence.textContent = text;
}

async function pick(k, index) {
    const found = await dataImage("test", index);
    if (!found)
        return;
    parts[k] = found;
    showPicks();
}

async function randomPair() {
    await pick(0, randomIndex());
    for (let tries = 0; tries < 5; tries++) {
        await pick(1, randomIndex());
        if (parts[0]?.labels[0] !== parts[1]?.labels[0])
            break;
    }
    request();
}

const inputs = [];
function showPicks() {
    parts.forEach((p, k) => {
        if (inputs[k])
            inputs[k].value = p?.index ?? "";
    });
}

function picker(k) {
    const id = freshId("pick"), name = ["First", "Second"][k], tools = [];
    if (state.data) {
        inputs[k] = h("input", {
            type: "number",
            min: 0,
            id,
            onchange: async () => {
                await pick(k, Math.max(0, Math.floor(Number(inputs[k].value) || 0)));
                request();
            }
        });
        tools.push(h("div", {class: "choice"}, h("label", {for: id
        }, `${name} image`), inputs[k]));
    }
    tools.push(button("My drawing", () => {
        parts[k] = {
            image: state.image,
            labels: trueLabels().slice(0, 1),
            index: state.source.index
        };
        showPicks();
        request();
    }, {"aria-label": `${name}: my drawing`}));
    return h("div", {class: "tools"}, h("span", {class: `swatch pair-${k}`}), tools);
}

function buildMaker() {
    sliders = ["x", "y"].map((axis) => range({
        label: axis === "x" ? "Apart ↔" : "Apart ↕",
        min: -12,
        max: 12,
        step: 1,
        value: apart[axis],
        format: (v) => `${fixed(v, 0)} px`,
        oninput: (v) => {
            apart[axis] = v;
            request();
        }
    }));
    makerBox.replaceChildren(picker(0), picker(1), ...sliders.map((r) => r.element),
        state.data && h("div", {class: "tools"}, button("Random pair", randomPair)) || "");
    showPicks();
}

/* The second image is dragged over the first. */
function listen(canvas) {
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
        if (mode !== "two")
            return;
        event.preventDefault();
        canvas.setPointerCapture(event.pointerId);
        from = {x: event.clientX, y: event.clientY, apart: {...apart}};
    });
    canvas.addEventListener("pointermove", (event) => {
        if (!from)
            return;
        const zoom = shape().width / canvas.getBoundingClientRect().width;
        const limit = (v) => Math.max(-12, Math.min(12, Math.round(v)));
        apart = {
            x: limit(from.apart.x + 2 * (event.clientX - from.x) * zoom),
            y: limit(from.apart.y + 2 * (event.clientY - from.y) * zoom)
        };
        sliders[0].show(apart.x);
        sliders[1].show(apart.y);
        request();
    });
    for (const name of ["pointerup", "pointercancel"])
        canvas.addEventListener(name, () => {
            from = null;
        });
}

function setMode(next) {
    mode = next;
    modeSwitch.press(mode);
    makerBox.hidden = mode !== "two";
    canvases.input.classList.toggle("grab", mode === "two");
    request();
}

/* Data whose images are pairs already need no second one. */
const dataArePairs = () => trueLabels().length > 1;

function setIdea() {
    const {decoder, kind} = model();
    if (kind === "cnn")
        panel.setIdea("Two digits in one image. A CNN was trained to choose one class: the " +
            "probabilities must share.");
    else if (!decoder)
        panel.setIdea("Two digits in one image: two capsules should be active. This model has no " +
            "decoder to draw them apart.");
    else
        panel.setIdea(["Each capsule speaks for one digit, so two that overlap can be taken " +
            "apart: the decoder draws each from its own capsule. A model trained on pairs (",
            h("code", {}, "--data multi:mnist"), ") does this best."]);
}

async function update() {
    if (!begun) {
        begun = true;
        if (dataArePairs())
            mode = "one";
        buildMaker();
        if (mode === "two" && state.data && !parts[0]) {
            await pick(0, chosen[0]);
            await pick(1, chosen[1]);
        }
        setMode(mode);
    } else if (mode === "one" || !made) {
        request();
    }
}

let chosen = [3, 2];

function figure(name, label, caption, className_ = "") {
    const canvas = h("canvas", {role: "img", "aria-label": label});
    const text = h("figcaption", {}, caption);
    canvases[name] = canvas;
    captions[name] = text;
    return h("figure", {class: className_}, canvas, text);
}

function csv() {
    const rows = [["class", "score", "part"]];
    result.prediction.lengths.forEach(
        (v, j) => rows.push([className(j), v, result.classes.indexOf(j) + 1 || ""]));
    return rows;
}

export function begin() {
    panel = new Panel("overlap", {idea: "", update, csv});
    canvases = {};
    captions = {};
    modeSwitch = switcher("Which image",
        [["two", "Lay two over one another"], ["one", "The image as it is"]], mode, setMode);
    makerBox = h("div", {class: "maker"});
    sentence = h("p", {class: "verdict"});
    panel.body.append(h("div", {class: "tools"}, modeSwitch.element),
        h("div", {class: "overlap-figure"}, makerBox,
            h("div", {class: "overlap-pictures"},
                figure("input", "The image that the network sees", "what the network sees"),
                figure("truth", "The two images, the first orange, the second blue",
                    "what was put together"),
                figure("both", "Both reconstructions, each in its colour", "what it took apart"),
                figure("first", "What the first capsule draws", "", "pair-0"),
                figure("second", "What the second capsule draws", "", "pair-1"))),
        sentence);
    listen(canvases.input);
    setIdea();
    on("prediction", ({live}) => (mode === "one" || !begun) && panel.need(live));
    on("model", () => {
        setIdea();
        result = made = null;
        parts = [null, null];
        begun = false;
        panel.need();
    });
    register("pair",
        () => (mode === "two" && parts[0]?.index !== undefined && parts[1]?.index !== undefined &&
                    begun
                ? `${parts[0].index}:${parts[1].index}:${apart.x}:${apart.y}`
                : ""),
        (text) => {
            const [a, b, x, y] = text.split(":").map(Number);
            if ([a, b, x, y].every(Number.isInteger) && a >= 0 && b >= 0) {
                chosen = [a, b];
                apart = {x: Math.max(-12, Math.min(12, x)), y: Math.max(-12, Math.min(12, y))};
            }
        });
}
