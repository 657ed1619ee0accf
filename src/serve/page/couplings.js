/* The couplings of the image that is shown, asked for once for all panels that show them, and what
 * can be said of them. */

import {latest, post} from "./api.js";
import {toSend} from "./pixels.js";
import {emit, model, on, state, theClass} from "./store.js";

let askedFor = null;

const ask =
    latest((body, order) => post("/api/predict", {...body, ...order}), (answer, {image}) => {
        state.routing = answer;
        emit("routing", {image});
    });

/* Asks unless this image has been asked for already. */
export function needCouplings() {
    if (!state.image || !model().routing || askedFor === state.prediction)
        return;
    askedFor = state.prediction;
    ask({model: state.index, image: toSend(state.image), routing: true});
}

export function begin() {
    on("model", () => {
        ask.forget();
        state.routing = null;
        askedFor = null;
    });
}

export const iterations = () => state.routing?.routing?.couplings.length || 0;

/* The iteration that is looked at, from 0. */
export const iteration = () => Math.min(state.iteration ?? Infinity, iterations() - 1);

/* How much more than the mean of all classes child i gives to class j: 0 is an equal share. */
export function excess(r, i, j) {
    const c = state.routing.routing.couplings[r][i];
    const mean = c.reduce((a, b) => a + b, 0) / c.length;
    return mean > 0 ? c[j] / mean - 1 : 0;
}

export const grid = () => model().routing?.grid || null;
export const childAt = (t, x, y) => (t * grid().height + y) * grid().width + x;

/* Over the types of a place: the mean excess of class j, weighted by how long the capsules are. */
export function placeExcess(r, x, y, j) {
    const {child_lengths: lengths} = state.routing.routing;
    let sum = 0, weight = 0;
    for (let t = 0; t < grid().types; t++) {
        const i = childAt(t, x, y);
        sum += lengths[i] * excess(r, i, j);
        weight += lengths[i];
    }
    return weight > 0 ? sum / weight : 0;
}

/* Of all iterations, places and classes: {excess: [r][y][x][j], activity: [y][x] (1: the most
 * active), most: the greatest excess or lack}. */
export function placeTable() {
    const {couplings, child_lengths: lengths} = state.routing.routing,
                                     {types, height, width} = grid();
    const classes = couplings[0][0].length;
    const activity = Array.from({length: height}, (_, y) => Array.from({length: width}, (__, x) => {
        let sum = 0;
        for (let t = 0; t < types; t++)
            sum += lengths[childAt(t, x, y)];
        return sum;
    }));
    const top = Math.max(1e-9, ...activity.flat());
    let most = 1e-6;
    const table =
        couplings.map((_, r) => activity.map(
                          (row, y) => row.map((__, x) => Array.from({length: classes}, (___, j) => {
                              const e = placeExcess(r, x, y, j);
                              most = Math.max(most, Math.abs(e));
                              return e;
                          }))));
    return {excess: table, activity: activity.map((row) => row.map((v) => v / top)), most};
}

/* The centre of what a place sees, and the side of it, in pixels of the input. */
export function seenBy(x, y) {
    const field = model().routing.receptive_field, {height, width} = model().input;
    if (!field)
        return {
            cx: ((x + 0.5) * width) / grid().width,
            cy: ((y + 0.5) * height) / grid().height,
            size: width / grid().width,
            stride: width / grid().width
        };
    const at = (k) => field.offset + k * field.stride + field.size / 2;
    return {cx: at(x), cy: at(y), size: field.size, stride: field.stride};
}

/* Where the capsules give most to class j, weighted by how active they are. */
export function strongestPlace(table, r, j) {
    let best = {x: 0, y: 0, e: -Infinity};
    table.activity.forEach((row, y) => row.forEach((active, x) => {
        const e = table.excess[r][y][x][j] * active;
        if (e > best.e)
            best = {x, y, e};
    }));
    return best;
}

/* The place that is looked at; at first that of the strongest voters of the class. */
export function thePlace(table) {
    const {height, width} = grid();
    if (state.place && state.place.x < width && state.place.y < height)
        return state.place;
    const {x, y} = strongestPlace(table, iterations() - 1, theClass());
    return {x, y};
}

/* The types at a place, the most active first. */
export function typesAt({x, y}) {
    const {child_lengths: lengths} = state.routing.routing;
    return Array.from({length: grid().types}, (_, t) => t)
        .sort((a, b) => lengths[childAt(b, x, y)] - lengths[childAt(a, x, y)]);
}
