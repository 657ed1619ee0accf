/* The image turned, shifted or scaled by handles; the lengths and the numbers as curves. */

import {register, remember} from "./address.js";
import {latest, post} from "./api.js";
import {curves, responsive, spark} from "./charts.js";
import {h, range, s, switcher} from "./dom.js";
import {paint, toSend} from "./pixels.js";
import {Panel} from "./panel.js";
import {rangesOf} from "./ranges.js";
import {className, model, on, state, theClass} from "./store.js";
import {fixed, greatest, list, steps} from "./words.js";

const KINDS = {
    rotate: {
        name: "Turn",
        from: -60,
        to: 60,
        n: 41,
        rest: 0,
        format: (v) => `${fixed(v, 0)}°`,
        axis: "turned to the left by (degrees)"
    },
    shift_x: {
        name: "Shift ↔",
        from: -8,
        to: 8,
        n: 33,
        rest: 0,
        format: (v) => `${fixed(v, 1)} px`,
        axis: "shifted to the right by (pixels)"
    },
    shift_y: {
        name: "Shift ↕",
        from: -8,
        to: 8,
        n: 33,
        rest: 0,
        format: (v) => `${fixed(v, 1)} px`,
        axis: "shifted down by (pixels)"
    },
    scale: {
        name: "Scale",
        from: 0.5,
        to: 1.5,
        n: 41,
        rest: 1,
        format: (v) => `× ${fixed(v, 2)}`,
        axis: "scaled by"
    },
};
let panel, kindSwitch, slider, sliderBox, stage, picture, layer, lengthBox, sparkBox, sentence,
    drawLengths;
let kind = "rotate", value = 0, answer = null, ranges = null, asked = null;

const valuesOf = (k) => steps(KINDS[k].from, KINDS[k].to, KINDS[k].n);

const ask = latest((body, order) => post("/api/transform", {...body, ...order}), async (found) => {
    answer = found;
    ranges = await rangesOf(found.class);
    draw();
});

/* The index of the value in the answer; the nearest one. */
const at = () => answer.values.reduce(
    (best, v, i) => (Math.abs(v - value) < Math.abs(answer.values[best] - value) ? i : best), 0);

function request() {
    asked = state.image;
    const body = {model: state.index, image: toSend(state.image), kind, values: valuesOf(kind)};
    if (state.chosen !== null)
        body.class = state.chosen;
    ask(body);
}

function setKind(next, v) {
    kind = next;
    value = v;
    kindSwitch.press(kind);
    buildSlider();
    request();
    remember();
}

function setValue(v) {
    const {from, to, n} = KINDS[kind], step = (to - from) / (n - 1);
    value = Math.min(to, Math.max(from, from + Math.round((v - from) / step) * step));
    slider.show(value);
    if (answer?.kind === kind)
        draw();
    remember();
}

function buildSlider() {
    const {name, from, to, n, format} = KINDS[kind];
    slider = range({
        label: name,
        min: from,
        max: to,
        step: (to - from) / (n - 1),
        value,
        format,
        oninput: setValue
    });
    sliderBox.replaceChildren(slider.element);
}

/* Handles in a square of 100: a knob on a circle turns, a corner scales, the inside shifts. */
function drawHandles() {
    const angle = kind === "rotate" ? -value : 0, scale = kind === "scale" ? value : 1;
    const a = ((angle - 90) * Math.PI) / 180, half = 28 * scale;
    const dx = kind === "shift_x" ? (value / model().input.width) * 100 : 0;
    const dy = kind === "shift_y" ? (value / model().input.height) * 100 : 0;
    layer.replaceChildren(s("circle", {class: "orbit", cx: 50, cy: 50, r: 43}), s("rect", {
        class: "orbit",
        x: 50 + dx - half,
        y: 50 + dy - half,
        width: 2 * half,
        height: 2 * half,
        transform: `rotate(${angle} 50 50)`
    }),
        s("path", {class: "orbit", d: `M${44 + dx} ${50 + dy}h12M${50 + dx} ${44 + dy}v12`}),
        s("circle",
            {class: "handle", cx: 50 + 43 * Math.cos(a), cy: 50 + 43 * Math.sin(a), r: 4.4}),
        s("rect",
            {class: "handle", x: 46.5 + half + dx, y: 46.5 + half + dy, width: 7, height: 7}));
}

function lengthLines() {
    const {lengths, labels} = answer, {kind} = model();
    const title = kind === "cnn" ? "probability of each class"
        : kind === "matrix"      ? "activation of each class capsule"
                                 : "length of each class capsule";
    /* The class itself is drawn last; one that wins somewhere has a name. */
    const order =
        [...lengths[0].keys()].sort((a, b) => (a === answer.class) - (b === answer.class));
    const role = (j) => (j === answer.class ? "chosen" : labels.includes(j) ? "rival" : "");
    return {
        title,
        lines: order.map((j) => ({
            values: lengths.map((l) => l[j]),
            name: role(j) ? className(j) : "",
            className: role(j)
        }))
    };
}

function drawSparks() {
    sparkBox.hidden = !answer.capsules;
    if (!answer.capsules)
        return;
    const moves = movement();
    const all = [...answer.capsules.flat(), ...(ranges ? [...ranges.low, ...ranges.high] : [])];
    const low = Math.min(...all), high = Math.max(...all), leaders = greatest(moves, 3);
    sparkBox.replaceChildren(
        ...moves.map((moved, d) => h("figure", {class: leaders.includes(d) ? "leader" : ""}, spark({
            values: answer.capsules.map((c) => c[d]),
            low,
            high,
            band: ranges && [ranges.low[d], ranges.high[d]],
            cursor: at(),
            width: 92,
            label: `Number ${d + 1} moves by ${fixed(moved)}`
        }),
                         h("figcaption", {}, `${d + 1}: ${fixed(answer.capsules[at()][d])}`))));
}

const movement = () => answer.capsules[0].map((_, d) => {
    const v = answer.capsules.map((c) => c[d]);
    return Math.max(...v) - Math.min(...v);
});

function drawSentence() {
    const {from, to, format} = KINDS[kind], j = answer.class, own = answer.lengths.map((l) => l[j]);
    const right = answer.labels.filter((l) => l === j).length;
    let text = `Between ${format(from)} and ${format(to)} it takes ${right} of ` +
        `${own.length} images for ${className(j)}. `;
    if (model().kind === "cnn")
        text += "A CNN gives nothing else: how far the image is turned is not in its " +
            "answer.";
    else if (answer.capsules) {
        const moves = movement(), lead = greatest(moves, 3);
        text += "Meanwhile the numbers of its capsule move, most of all " +
            `${list(lead.map((d) => `number ${d + 1} (by ${fixed(moves[d])})`))}.`;
    }
    sentence.textContent = text;
}

function draw() {
    drawHandles();
    if (!answer || answer.kind !== kind)
        return;
    paint(picture, answer.images[at()], model().input);
    picture.setAttribute(
        "aria-label", `The image, ${KINDS[kind].name}: ${KINDS[kind].format(value)}`);
    drawLengths();
    drawSparks();
    drawSentence();
}

function point(event) {
    const box = picture.getBoundingClientRect();
    return [
        ((event.clientX - box.left) / box.width) * 100 - 50,
        ((event.clientY - box.top) / box.height) * 100 - 50
    ];
}

/* Which handle was taken, by where. */
function grasp([x, y]) {
    const far = Math.hypot(x, y), corner = 28 * (kind === "scale" ? value : 1);
    if (Math.max(Math.abs(x - corner), Math.abs(y - corner)) < 8)
        return "scale";
    return far > 34 ? "rotate" : "shift";
}

function dragTo(drag, [x, y]) {
    let next = drag.kind, v;
    if (next === "shift") {
        const dx = x - drag.start[0], dy = y - drag.start[1];
        if (Math.max(Math.abs(dx), Math.abs(dy)) < 2)
            return;
        next = drag.kind = Math.abs(dx) >= Math.abs(dy) ? "shift_x" : "shift_y";
    }
    if (next === "rotate")
        v = 180 - (((Math.atan2(y, x) * 180) / Math.PI + 90 + 540) % 360);
    else if (next === "scale")
        v = Math.max(x, y) / 28;
    else
        v = next === "shift_x" ? ((x - drag.start[0]) / 100) * model().input.width
                               : ((y - drag.start[1]) / 100) * model().input.height;
    if (next !== kind)
        setKind(next, KINDS[next].rest);
    setValue(v);
}

function listen() {
    let drag = null;
    stage.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        stage.setPointerCapture(event.pointerId);
        drag = {kind: grasp(point(event)), start: point(event)};
        if (drag.kind !== "shift")
            dragTo(drag, point(event));
    });
    stage.addEventListener("pointermove", (event) => drag && dragTo(drag, point(event)));
    for (const name of ["pointerup", "pointercancel"])
        stage.addEventListener(name, () => {
            drag = null;
        });
}

function setIdea() {
    panel.setIdea(model().kind === "cnn"
            ? "Drag the knob, the corner or the image. A CNN answers with " +
                "probabilities alone, so only they can be followed."
            : "Drag the knob, the corner or the image. The length should stay, for " +
                "it is the same thing. The numbers should move, for they say where " +
                "and how it is. That is called equivariance.");
}

function csv() {
    const {values, lengths, labels, capsules} = answer;
    return [
        [
            kind, "label", ...model().classes.map((c) => `score of ${c}`),
            ...(capsules ? capsules[0].map((_, d) => `number ${d + 1}`) : [])
        ],
        ...values.map(
            (v, i) => [v, className(labels[i]), ...lengths[i], ...(capsules ? capsules[i] : [])])
    ];
}

export function begin() {
    panel = new Panel("motion", {
        idea: "",
        csv,
        update: () => {
            if (state.image && (asked !== state.image || answer?.class !== theClass()))
                request();
            draw();
        }
    });
    kindSwitch = switcher("What to do", Object.entries(KINDS).map(([k, {name}]) => [k, name]), kind,
        (k) => setKind(k, KINDS[k].rest));
    picture = h("canvas", {role: "img", "aria-label": "The image, moved"});
    layer = s("svg", {class: "layer", viewBox: "0 0 100 100", "aria-hidden": "true"});
    stage = h("div", {class: "stage movable"}, picture, layer);
    sliderBox = h("div", {});
    lengthBox = h("div", {class: "chart-box"});
    sparkBox = h("div", {class: "sparks"});
    sentence = h("p", {class: "verdict"});
    panel.body.append(h("div", {class: "tools"}, kindSwitch.element),
        h("div", {class: "motion-figure"}, h("div", {}, stage, sliderBox),
            h("div", {}, lengthBox, sentence)),
        sparkBox);
    drawLengths = responsive(lengthBox, (width) => {
        if (!answer)
            return h("p", {class: "quiet"}, "…");
        const {title, lines} = lengthLines();
        return curves({
            at: answer.values,
            lines,
            low: 0,
            high: 1,
            cursor: at(),
            width,
            height: 210,
            xName: KINDS[answer.kind].axis,
            yName: title,
            label: `${title}, ${KINDS[answer.kind].axis}`,
            format: (v) => fixed(v, answer.kind === "scale" ? 1 : 0)
        });
    });
    buildSlider();
    setIdea();
    listen();
    on("prediction", ({live}) => panel.need(live));
    on("class", () => panel.need());
    on("model", () => {
        answer = asked = null;
        setIdea();
        panel.need();
    });
    on("theme", draw);
    register("move",
        () => (value === KINDS[kind].rest && kind === "rotate"
                ? ""
                : `${kind}:${Number(value.toFixed(3))}`),
        (text) => {
            const [k, v] = text.split(":");
            if (KINDS[k] && Number.isFinite(Number(v))) {
                kind = k;
                value = Math.min(KINDS[k].to, Math.max(KINDS[k].from, Number(v)));
                kindSwitch.press(kind);
                buildSlider();
            }
        });
}
