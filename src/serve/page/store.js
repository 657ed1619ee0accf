/* What the page shows at the moment, and who wants to know when it changes. */

export const state = {
    models: [],  // as GET /api/model gives them
    data: null,
    index: 0,                 // of the model that is looked into
    image: null,              // Float64Array [C*H*W]
    source: {kind: "drawn"},  // or {kind: "test" | "train", index, labels} or {kind: "file", name}
    chosen: null,             // a class, or null: the one that the network chooses
    prediction: null,         // of the image, by the model
    routing: null,            // the same with couplings
    iteration: null,          // of the routing, from 0; null: the last
    place: null,              // {x, y} of the grid of primary capsules
};

const listeners = new Map();

/* Events: "model", "image" ({live: during a stroke}), "prediction", "routing", "class", "place",
 * "theme". */
export function on(name, listener) {
    if (!listeners.has(name))
        listeners.set(name, []);
    listeners.get(name).push(listener);
}

export function emit(name, detail = {}) {
    for (const listener of listeners.get(name) || [])
        listener(detail);
}

export const model = () => state.models[state.index];
export const shape = () => model().input;
export const className = (j) => model().classes[j] ?? String(j);

/* The class that panels are about: the chosen one, or the network's answer. */
export function theClass() {
    if (state.chosen !== null && state.chosen < model().classes.length)
        return state.chosen;
    return state.prediction ? state.prediction.label : 0;
}

/* The labels that the data give to this image, or []. */
export const trueLabels = () => state.source.labels || [];

export function setImage(image, source, live = false) {
    state.image = image;
    state.source = source;
    emit("image", {live});
}

export function choose(j) {
    state.chosen = j;
    emit("class");
}
