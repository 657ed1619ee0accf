/* The numbers of all class capsules as small grids of colours: poses of 4 by 4, or rows. */

import {heatCell} from "./charts.js";
import {h} from "./dom.js";
import {className, model, state} from "./store.js";

import {fixed, signed} from "./words.js";

function grid(values, columns, most, large) {
    const box = h("div", {class: large ? "pose large" : "pose"});
    box.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
    for (const v of values)
        box.append(heatCell(v / most, large ? signed(v) : "", `${fixed(v)}`));
    return box;
}

export function showPoses(box, chosen) {
    const {capsules, lengths} = state.prediction, size = capsules[0].length;
    const columns = model().kind === "matrix" || size === 16 ? 4 : Math.min(8, size);
    const most = Math.max(1e-6, ...capsules.flat().map(Math.abs));
    const what = model().kind === "matrix" ? "activation" : "length";
    box.replaceChildren(
        h("figure", {class: "pose-figure"}, grid(capsules[chosen], columns, most, true),
            h("figcaption", {}, `Class ${className(chosen)}, ${what} ${fixed(lengths[chosen])}. `,
                "Orange is above zero, blue below.")),
        h("div", {class: "pose-row"},
            capsules.map((values, j) => h("figure", {class: j === chosen ? "here" : ""},
                             grid(values, columns, most, false),
                             h("figcaption", {}, `${className(j)}: ${fixed(lengths[j])}`)))));
}
