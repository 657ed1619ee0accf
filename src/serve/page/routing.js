/* Routing step by step: over the image, where the capsules sit and to which class they give more
 * than an equal share; beside it the same for every class; below, one place in detail. */

import {register, remember} from "./address.js";
import {diverging, heatCell, inkOn} from "./charts.js";
import {
    childAt,
    excess,
    grid,
    iteration,
    iterations,
    needCouplings,
    placeTable,
    seenBy,
    strongestPlace,
    thePlace,
    typesAt
} from "./couplings.js";
import {button, h, s, say} from "./dom.js";
import {paint} from "./pixels.js";
import {Panel} from "./panel.js";
import {choose, className, emit, model, on, state, theClass} from "./store.js";
import {fixed, greatest, list, percent, signed} from "./words.js";

const ROWS = 12;
const PLAY_MS = 1100;
let panel, stepBox, stage, picture, layer, columnBox, summary, detail, legend, first, playing = 0;
let all = false, table = null;

const isMatrix = () => model().kind === "matrix";
const word = () => (isMatrix() ? "assignment" : "coupling");

function setIteration(r) {
    state.iteration = r;
    draw();
    emit("place");
    remember();
}

function stop() {
    clearInterval(playing);
    playing = 0;
}

function play() {
    if (playing)
        return stop();
    setIteration(0);
    playing = setInterval(() => {
        if (iteration() + 1 >= iterations())
            stop();
        else
            setIteration(iteration() + 1);
        drawSteps();
    }, PLAY_MS);
    drawSteps();
}

/* The buttons are kept, so that the focus stays where it is. */
function drawSteps() {
    const n = iterations();
    stepBox.hidden = n < 2;
    if (stepBox.childElementCount !== n + 2)
        stepBox.replaceChildren(h("span", {class: "group-name", id: "iteration-name"}, "Iteration"),
            ...Array.from({length: n}, (_, r) => button(String(r + 1), () => {
                stop();
                setIteration(r);
            }, {"aria-label": `Iteration ${r + 1}`})), button("Play", play));
    [...stepBox.children].slice(1, n + 1).forEach(
        (b, r) => b.setAttribute("aria-pressed", String(r === iteration())));
    stepBox.lastChild.textContent = playing ? "Stop" : "Play";
}

function circle(x, y, r) {
    const {cx, cy, stride} = seenBy(x, y), active = table.activity[y][x];
    const radius = Math.max(0.1, 0.47 * stride * Math.sqrt(active));
    const values = table.excess[r][y][x];
    if (all) {
        const j = greatest(values, 1)[0], even = values[j] < 0.001;
        return s("text", {
            x: cx,
            y: cy,
            class: j === theClass() && !even ? "vote chosen" : "vote",
            "text-anchor": "middle",
            "dominant-baseline": "central",
            "font-size": Math.max(0.6, stride * (0.35 + 0.65 * Math.sqrt(active)))
        },
            even ? "·" : className(j));
    }
    const mark = s("circle", {cx, cy, r: radius, class: "voter"});
    mark.style.fill = diverging(values[theClass()] / table.most);
    return mark;
}

function drawStage() {
    const {height, width} = model().input, r = iteration(), place = thePlace(table);
    paint(picture, state.image, model().input);
    const {cx, cy, size, stride} = seenBy(place.x, place.y);
    layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
    layer.replaceChildren(
        s("rect", {class: "field", x: cx - size / 2, y: cy - size / 2, width: size, height: size}),
        ...table.activity.flatMap((row, y) => row.map((_, x) => circle(x, y, r))),
        s("circle", {class: "field-centre", cx, cy, r: stride * 0.5}));
}

function miniMap(j, r) {
    const {height, width} = grid();
    return s("svg", {viewBox: `0 0 ${width} ${height}`, class: "mini", "aria-hidden": "true"},
        table.activity.flatMap((row, y) => row.map((a, x) => {
            const cell = s("circle", {cx: x + 0.5, cy: y + 0.5, r: 0.5 * Math.sqrt(a)});
            cell.style.fill = diverging(table.excess[r][y][x][j] / table.most);
            return cell;
        })));
}

function drawColumns() {
    const r = iteration(), lengths = state.routing.routing.class_lengths[r];
    const columns = model().classes.map((name, j) => {
        const bar = h("span", {class: "bar"}, h("span", {class: "bar-fill"}));
        bar.firstChild.style.setProperty("--share", String(Math.min(1, lengths[j])));
        const pressed = !all && j === theClass();
        return button(
            [
                h("span", {class: "bar-name"}, name), grid() && miniMap(j, r), bar,
                h("span", {class: "bar-value"}, fixed(lengths[j]))
            ],
            () => {
                all = false;
                choose(j);
                draw();
                remember();
            },
            {
                class: j === state.prediction.label ? "vote-column winner" : "vote-column",
                "aria-pressed": String(pressed),
                "aria-label": `Voters of ${name}; length ${fixed(lengths[j])}`
            });
    });
    const focus = [...columnBox.children].indexOf(document.activeElement);
    columnBox.replaceChildren(...columns);
    if (focus >= 0)
        columnBox.children[focus].focus({preventScroll: true});
}

function drawSummary() {
    const j = theClass(), r = iteration(), share = 1 / model().classes.length;
    if (!grid()) {
        summary.textContent =
            "These capsules have no place in the image: they read other capsules. " +
            "The table has the most active ones.";
        return;
    }
    if (all) {
        summary.textContent = "Each sign is the class to which the capsules of that place give " +
            "most, the larger the more active they are. A dot gives all the same.";
        return;
    }
    const {x, y} = strongestPlace(table, r, j), e = table.excess[r][y][x][j];
    const when = iterations() > 1 ? `Iteration ${r + 1}: the` : "The";
    const equal = table.excess[r].flat(2).every((v) => Math.abs(v) < 1e-3);
    summary.textContent = equal
        ? `Iteration ${r + 1}: nothing is known yet, so every capsule gives ` +
            `each class the same share, ${percent(share, 1)}.`
        : `${when} strongest voters for ${className(j)} are in row ${y + 1}, ` +
            `column ${x + 1}. They give it ${percent(share * (1 + e), 1)} of ` +
            `their ${isMatrix() ? "assignment" : "vote"}; an equal share is ` +
            `${percent(share, 1)}.`;
}

function drawLegend() {
    const share = 1 / model().classes.length, most = table ? table.most : 0;
    const bar = h("span", {class: "legend-bar"},
        [-1, -0.66, -0.33, 0, 0.33, 0.66, 1].map((t) => heatCell(t, "", "")));
    legend.replaceChildren("less", bar,
        `more than an equal share of ${percent(share, 1)}; at most ` +
            `${percent(share * (1 + most), 1)}.`,
        h("span", {class: "legend-size"},
            isMatrix() ? "Large: more active." : "Large: long capsules."));
}

function detailTable(children, names, caption) {
    const r = iteration(), {couplings, child_lengths: lengths} = state.routing.routing;
    const most = Math.max(1e-6,
        ...children.map(
            (i) => Math.max(...couplings[r][i].map((_, j) => Math.abs(excess(r, i, j))))));
    return h("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption},
        h("table", {class: "heat-table"}, h("caption", {}, caption),
            h("thead", {},
                h("tr", {}, h("th", {scope: "col"}, grid() ? "type" : "capsule"),
                    h("th", {scope: "col"}, isMatrix() ? "active" : "length"),
                    model().classes.map((name) => h("th", {scope: "col"}, name)))),
            h("tbody", {},
                children.map((i, row) => h("tr", {}, h("th", {scope: "row"}, names[row]),
                                 h("td", {class: "quiet"}, fixed(lengths[i])),
                                 couplings[r][i].slice(0, model().classes.length).map((c, j) => {
                                     const t = excess(r, i, j) / most;
                                     const cell = h("td", {class: "heat"}, fixed(100 * c, 0));
                                     cell.style.backgroundColor = diverging(t);
                                     cell.style.color = inkOn(t);
                                     return cell;
                                 }))))));
}

function drawDetail() {
    if (!grid()) {
        const order = greatest(state.routing.routing.child_lengths, 24);
        detail.replaceChildren(detailTable(order, order.map((i) => i + 1),
            `The most active capsules: their ${word()} with each class, in percent`));
        return;
    }
    const place = thePlace(table), types = typesAt(place).slice(0, ROWS);
    const many = grid().types > ROWS ? `, the ${ROWS} most active of ${grid().types} types` : "";
    detail.replaceChildren(
        detailTable(types.map((t) => childAt(t, place.x, place.y)), types.map((t) => t + 1),
            `Row ${place.y + 1}, column ${place.x + 1}: the ${word()} of each ` +
                `capsule there with each class, in percent${many}`));
}

function draw() {
    if (!state.routing?.routing || !panel.visible)
        return;
    stage.hidden = legend.hidden = first.hidden = !grid();
    stage.parentElement.classList.toggle("alone", !grid());
    if (grid()) {
        table = placeTable();
        drawStage();
    }
    drawSteps();
    drawColumns();
    drawSummary();
    drawLegend();
    drawDetail();
}

function lookAt(x, y) {
    const {height, width} = grid();
    state.place = {x: Math.min(width - 1, Math.max(0, x)), y: Math.min(height - 1, Math.max(0, y))};
    draw();
    emit("place");
    remember();
    const values = table.excess[iteration()][state.place.y][state.place.x];
    const best =
        greatest(values, 2).map((j) => `${className(j)} by ${signed(100 * values[j], 0)} %`);
    say(`Row ${state.place.y + 1}, column ${state.place.x + 1}: most for ` +
        `${list(best)}.`);
}

function lookAtPointer(event) {
    const box = picture.getBoundingClientRect(), {height, width} = model().input;
    const px = ((event.clientX - box.left) / box.width) * width;
    const py = ((event.clientY - box.top) / box.height) * height;
    const {cx, cy, stride} = seenBy(0, 0);
    lookAt(Math.round((px - cx) / stride), Math.round((py - cy) / stride));
}

function listen() {
    stage.addEventListener("pointerdown", lookAtPointer);
    stage.addEventListener("pointermove", (event) => {
        if (event.pointerType === "mouse" && event.buttons === 1)
            lookAtPointer(event);
    });
    stage.addEventListener("keydown", (event) => {
        const by = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0,
                        1]}[event.key];
        if (!by || !table)
            return;
        event.preventDefault();
        const {x, y} = thePlace(table);
        lookAt(x + by[0], y + by[1]);
    });
}

function applies() {
    const {kind, routing} = model();
    if (kind === "cnn" || !routing)
        return "This model routes nothing: every value of a plain CNN goes to every " +
            "class with a fixed weight.";
    const single = routing.iterations < 2;
    panel.setIdea(isMatrix() ? "Each matrix capsule below looks at one part of the image and is " +
                "assigned to the classes whose poses its votes fit. EM routing " +
                "sharpens that in every iteration."
                             : "Each small capsule looks at one part of the image and shares its " +
                "vote among the classes. " +
                `${
                    single
                        ? "This model does that in one step."
                        : "In every iteration it gives more to the classes that agree with it."} ` +
                "Choose a class to see its voters, and a place to see what it gives " +
                "to whom.");
    return null;
}

function csv() {
    const {couplings, child_lengths: lengths} = state.routing.routing, g = grid();
    const rows = [["iteration", "capsule", "type", "row", "column", "length", ...model().classes]];
    couplings.forEach((list_, r) => list_.forEach((c, i) => rows.push([
        r + 1, i, g ? Math.floor(i / (g.height * g.width)) + 1 : "",
        g ? (Math.floor(i / g.width) % g.height) + 1 : "", g ? (i % g.width) + 1 : "", lengths[i],
        ...c
    ])));
    return rows;
}

export function begin() {
    panel = new Panel("routing", {
        idea: "",
        update: () => {
            needCouplings();
            draw();
        },
        csv
    });
    stepBox = h("div", {class: "switcher", role: "group", "aria-label": "Iteration"});
    picture = h("canvas", {role: "img", "aria-label": "The input"});
    layer = s("svg", {class: "layer", "aria-hidden": "true"});
    stage = h("div", {
        class: "stage",
        tabindex: "0",
        role: "group",
        "aria-label": "Places of the capsules in the image; arrow keys choose one"
    },
        picture, layer);
    columnBox = h("div", {class: "vote-columns", role: "group", "aria-label": "Classes"});
    summary = h("p", {class: "verdict"});
    detail = h("div", {class: "detail"});
    legend = h("p", {class: "legend quiet"});
    first = button("The favourite of each place", () => {
        all = !all;
        first.setAttribute("aria-pressed", String(all));
        draw();
    }, {"aria-pressed": "false"});
    panel.body.append(h("div", {class: "tools"}, stepBox, first),
        h("div", {class: "routing-figure"}, stage, h("div", {}, columnBox, summary)), legend,
        detail);
    on("routing", draw);
    on("prediction", ({live}) => (live ? panel.needNow() : panel.need()));
    on("class", () => {
        all = false;
        first.setAttribute("aria-pressed", "false");
        draw();
    });
    on("theme", draw);
    on("model", () => {
        stop();
        panel.setAbsent(applies());
    });
    panel.setAbsent(applies());
    listen();
    register("iteration", () => (state.iteration === null ? "" : state.iteration + 1), (text) => {
        state.iteration = Math.max(0, (parseInt(text, 10) || 1) - 1);
    });
    register("place", () => (state.place ? `${state.place.x}:${state.place.y}` : ""), (text) => {
        const [x, y] = text.split(":").map(Number);
        if (Number.isInteger(x) && Number.isInteger(y) && x >= 0 && y >= 0)
            state.place = {x, y};
    });
}
