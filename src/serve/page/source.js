/* The panel of the input: the pad, its tools, the test set, picture files. */

import {attempt, get} from "./api.js";
import {button, byId, choice, complain, freshId, h, range} from "./dom.js";
import {Pad} from "./pad.js";
import {blank, fromFile, isBlank, place} from "./pixels.js";
import {className, model, on, setImage, shape, state} from "./store.js";
import {list, thousands} from "./words.js";

let pad, number, split, origin, counted = 0, wanted = 0;

/* The labels of an answer of /api/image: one number, or several of a pair. */
const labelsOf =
    (answer) => [answer.labels ?? answer.label].flat().filter((v) => v !== null && v !== undefined);

/* An image of the data, in the size of the model that is looked into. */
export async function dataImage(which, index) {
    const answer =
        await attempt(get(`/api/image?split=${which}&index=${index}&model=${state.index}`));
    if (!answer)
        return null;
    counted = answer.count;
    const image = Float64Array.from(answer.image), from = model().input;
    const size = Math.sqrt(image.length / from.channels);
    const fits = image.length === from.channels * from.height * from.width;
    return {
        image: fits ? image
                    : place(image, {channels: from.channels, height: size, width: size}, from),
        labels: labelsOf(answer),
        index: answer.index,
    };
}

export async function takeData(which, index) {
    const mine = ++wanted;
    const found = await dataImage(which, index);
    if (!found || mine !== wanted)
        return;
    split = which;
    setImage(found.image, {kind: which, index: found.index, labels: found.labels});
}

export const dataCount = () => state.data?.splits?.[split] || counted || 1;
export const randomIndex = () => Math.floor(Math.random() * dataCount());

async function takeFile(file) {
    if (!file)
        return;
    try {
        setImage(
            await fromFile(file, shape()), {kind: "file", name: file.name || "a pasted picture"});
        complain("");
    } catch {
        complain(`${file.name || "That"} is no picture that this browser can read.`);
    }
}

function describe() {
    const {kind, index, labels, name} = state.source;
    if (kind === "drawn")
        return isBlank(state.image) ? "Nothing is drawn yet." : "Your drawing.";
    if (kind === "file")
        return `From the file ${name}.`;
    const said = labels.length ? `, labelled ${list(labels.map(className))}` : "";
    return `Image ${thousands(index)} of the ${kind} set${said}.`;
}

function drawingTools() {
    const eraser = button("Erase", () => {
        pad.erasing = !pad.erasing;
        eraser.setAttribute("aria-pressed", String(pad.erasing));
    }, {"aria-pressed": "false"});
    return h("div", {class: "tools tight"}, button("Clear", () => pad.clear()),
        button("Undo", () => pad.undo()), eraser,
        button("Centre", () => pad.centre(), {title: "To the middle, and as large as the data"}));
}

function moreTools() {
    const pen = range({
        label: "Pen",
        min: 0.4,
        max: 2.4,
        step: 0.2,
        value: 1,
        format: (v) => `${(2 * v).toFixed(1)} px`,
        oninput: (v) => {
            pad.radius = v;
        },
    });
    const file = h("input", {
        type: "file",
        accept: "image/*",
        class: "unseen",
        id: "file",
        onchange: () => takeFile(file.files[0])
    });
    const keys = "Keys, with the square in focus: arrows move the cursor. Space puts the pen " +
        "down and lifts it. Z undoes a stroke. Delete clears.";
    return h("details", {}, h("summary", {}, "Pen, picture files, keys"),
        h("div", {class: "more"}, pen.element, sets() || "",
            h("div", {class: "tools"}, file,
                h("label", {for: "file", class: "button"}, "Open a picture …")),
            h("p", {class: "quiet"}, "A picture can also be dropped on the square, or pasted."),
            h("p", {class: "quiet", id: "pad-keys"}, keys)));
}

function sets() {
        const names = Object.entries(state.data?.splits || {})
                          .filter(([, n]) => n > 0)
                          .map(([k]) => k)
                          .sort();
        if (names.length < 2)
            return null;
        return choice("Step through the", names.map((k) => [k, `${k} set`]), split, (v) => {
            split = v;
            number.max = dataCount() - 1;
            takeData(split, Math.min(dataCount() - 1, Number(number.value) || 0));
        }).element;
}

function stepper() {
        if (!state.data)
            return h("p", {class: "quiet"},
                "Start capscl serve with --data to step through a test set.");
        const id = freshId("number"),
              go = (n) => takeData(split, ((n % dataCount()) + dataCount()) % dataCount());
        const now = () => (["test", "train"].includes(state.source.kind) ? state.source.index
                                                                         : Number(number.value));
        number = h("input", {
            type: "number",
            id,
            min: 0,
            max: dataCount() - 1,
            value: 0,
            onchange: () => go(Math.floor(Number(number.value) || 0))
        });
    return h("div", {class: "tools stepper"},
        h("div", {class: "choice"},
            h("label", {for: id, class: "unseen"}, "Number of the image"), number),
        button("‹", () => go(now() - 1), {"aria-label": "Previous image", class: "step"}),
        button("›", () => go(now() + 1),
            {"aria-label": "Next image", class: "step", id: "next-image"}),
        button("Random", () => go(randomIndex())));
}

function acceptDrops(element) {
    const over = (event) => {
        event.preventDefault();
        element.classList.add("dropping");
    };
    element.addEventListener("dragover", over);
    element.addEventListener("dragleave", () => element.classList.remove("dropping"));
    element.addEventListener("drop", (event) => {
        event.preventDefault();
        element.classList.remove("dropping");
        takeFile(event.dataTransfer.files[0]);
    });
    document.addEventListener("paste", (event) => {
        const item = [...(event.clipboardData?.items || [])].find(
            (i) => i.type.startsWith("image/"));
        if (item)
            takeFile(item.getAsFile());
    });
}

export function begin() {
    split = "test";
    const body = byId("input").querySelector(".panel-body");
    pad = new Pad((image, live) => setImage(image, {kind: "drawn"}, live));
    pad.setShape(shape());
    origin = h("p", {class: "origin"});
    body.append(pad.element, drawingTools());
    byId("tools").append(origin, stepper(), moreTools());
    acceptDrops(byId("input"));
    on("image", () => {
        if (pad.image !== state.image)
            pad.show(state.image, describe());
        pad.canvas.setAttribute("aria-label", describe());
        origin.textContent = describe();
        if (number && state.source.index !== undefined)
            number.value = state.source.index;
    });
    /* Before the new model is asked: its images may have another size. */
    on("model", () => {
        const before = pad.shape, {channels, height, width} = shape();
        if (before.height === height && before.width === width &&
            before.channels === channels)
            return;
        pad.setShape(shape());
        state.image = before.channels === channels ? place(state.image, before, shape())
                                                   : blank(shape());
        if (before.channels !== channels)
            state.source = {kind: "drawn"};
    });
}

/* What the page opens with where the address says nothing. */
export async function first() {
    if (state.data)
        await takeData("test", 0);
    if (!state.image)
        setImage(blank(shape()), {kind: "drawn"});
}
