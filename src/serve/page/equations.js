/* The equations of the network with the numbers of this image. */

import {
    childAt,
    grid,
    iteration,
    needCouplings,
    placeTable,
    thePlace,
    typesAt
} from "./couplings.js";
import {h} from "./dom.js";
import {eq, fraction, norm, num, of, op, row, square, sub, sum, sup, v} from "./formulas.js";
import {Panel} from "./panel.js";
import {className, model, on, state, theClass, trueLabels} from "./store.js";
import {fixed, greatest} from "./words.js";

let panel, box;

const part = (title, ...children) =>
    h("section", {class: "equation"}, h("h3", {}, title), ...children);

/* |s| of which a squash by the paper's formula makes |v|. */
const beforeSquash = (length) => Math.sqrt(length / Math.max(1e-9, 1 - length));

function squashIsExponential() {
    const layer = (model().layers || []).find(({name}) => name === model().routing.layer);
    return Boolean(layer?.text?.includes("exponential squash"));
}

function squashPart(j) {
    const length = state.prediction.lengths[j], exp = squashIsExponential();
    const before = exp ? -Math.log(Math.max(1e-9, 1 - length)) : beforeSquash(length);
    const name = className(j);
    const general = exp
        ? eq(sub("v", "j"), op("="),
              row(op("("), num(1), op("−"), sup("e", row(op("−"), norm(sub("s", "j")))), op(")")),
              fraction(sub("s", "j"), norm(sub("s", "j"))))
        : eq(sub("v", "j"), op("="),
              fraction(
                  square(norm(sub("s", "j"))), row(num(1), op("+"), square(norm(sub("s", "j"))))),
              fraction(sub("s", "j"), norm(sub("s", "j"))));
    const numbers = exp
        ? eq(norm(sub("v", name)), op("="), num(1), op("−"),
              sup("e", row(op("−"), num(fixed(before)))), op("="), num(fixed(length, 3)))
        : eq(norm(sub("v", name)), op("="),
              fraction(
                  square(num(fixed(before))), row(num(1), op("+"), square(num(fixed(before))))),
              op("="), num(fixed(length, 3)));
    return part("Squash: from a sum of votes to a probability", general,
        h("p", {},
            `The votes for ${name} add up to a vector ${fixed(before)} long. ` +
                "Squashing keeps its direction and makes its length less than 1:"),
        numbers,
        h("p", {class: "quiet"},
            "The length of the sum is computed back from that of the capsule."));
}

/* Of the place that the routing panel looks at, the capsule that gives most to class j. */
function theChild(j) {
    const last = state.routing.routing.couplings.at(-1);
    if (!grid()) {
        const i = greatest(last.map((c) => c[j]), 1)[0];
        return {i, name: `capsule ${i + 1}`};
    }
    const place = thePlace(placeTable()), at = (t) => childAt(t, place.x, place.y);
    const t =
        typesAt(place).reduce((best, one) => (last[at(one)][j] > last[at(best)][j] ? one : best));
    return {
        i: at(t),
        name: `the capsule of type ${t + 1} in row ${place.y + 1}, column ${place.x + 1}`
    };
}

/* What the couplings of a capsule lack of 1: leaky routing gives it to no class. */
const lack = (c) => 1 - c.reduce((a, x) => a + x, 0);
const isLeaky = (c) => lack(c) > 1e-4;

/* Logits are known up to a constant from their softmax: here the mean over the classes is 0. Leaky
 * routing has one more logit, which is 0. */
function logits(c) {
    const logs = c.map((x) => Math.log(Math.max(x, 1e-30)));
    const zero = isLeaky(c) ? Math.log(lack(c)) : logs.reduce((a, b) => a + b, 0) / logs.length;
    return logs.map((x) => x - zero);
}

function couplingRows(i) {
    const {couplings} = state.routing.routing, all = couplings.map((c) => c[i]),
          b = all.map(logits);
    const best = all.map((c) => (Math.max(...c) - Math.min(...c) < 1e-6 ? -1 : greatest(c, 1)[0]));
    const here = (r) => (r === iteration() ? "here" : "");
    return h("div",
        {class: "scroll", tabindex: "0", role: "region", "aria-label": "Couplings of one capsule"},
        h("table", {class: "numbers"},
            h("thead", {},
                h("tr", {}, h("th", {scope: "col", rowspan: 2}, "class"),
                    all.map((_, r) => h("th", {scope: "colgroup", colspan: 2, class: here(r)},
                                r === 0 ? "iteration 1" : String(r + 1)))),
                h("tr", {},
                    all.map((_, r) => [h("th", {scope: "col", class: here(r)}, "b"),
                                h("th", {scope: "col", class: here(r)}, "c")]))),
            h("tbody", {},
                model().classes.map(
                    (name, j) => h("tr", {}, h("th", {scope: "row"}, name),
                        all.map((c, r) => [h("td", {class: here(r)}, fixed(b[r][j])),
                                    h("td", {class: j === best[r] ? `best ${here(r)}` : here(r)},
                                        fixed(c[j], 3))]))))));
}

function couplingPart(j) {
    const {i, name} = theChild(j), r = iteration(), c = state.routing.routing.couplings[r][i];
    const leaky = isLeaky(c), one = leaky ? [num(1), op("+")] : [];
    const softmax = (top, bottom) =>
        fraction(sup("e", top), row(...one, sum("k"), sup("e", bottom)));
    const b = logits(c), total = b.reduce((a, x) => a + Math.exp(x), leaky ? 1 : 0);
    const {kind} = model().routing;
    const where = `Here is ${name} (choose another one in the panel of the votes).`;
    if (kind === "em")
        return part("Assignment: which pose explains the vote",
            eq(sub("R", "ij"), op("="),
                fraction(row(sub("a", "j"), sub("p", "ij")),
                    row(sum("k"), sub("a", "k"), sub("p", "ik")))),
            h("p", {}, "a is the activation of the class, p how well the vote fits its Gaussian. ",
                where, " c is its assignment, b the logarithm, with mean 0."),
            couplingRows(i));
    if (kind === "max_min")
        return part("Couplings: between the least and the greatest",
            eq(sub("c", "ij"), op("="),
                fraction(row(sub("b", "ij"), op("−"), v("min"), sub("b", "i")),
                    row(v("max"), sub("b", "i"), op("−"), v("min"), sub("b", "i")))),
            h("p", {}, where), plainCouplings(i));
    const agree = kind === "dynamic" && model().routing.iterations > 1
        ? [
            eq(sub("b", "ij"), op("←"), sub("b", "ij"), op("+"), sub("û", "ij"), op("·"),
                sub("v", "j")),
            h("p", {}, "Each iteration adds how well the vote û agrees with the class capsule v."),
        ] : [];
    return part("Couplings: a softmax over the classes",
        eq(sub("c", "ij"), op("="), softmax(sub("b", "ij"), sub("b", "ik"))), ...agree,
        h("p", {}, where, ` Its coupling with ${className(j)} in iteration ${r + 1}:`),
        eq(sub("c", row(v("i"), v(className(j)))), op("="),
            fraction(sup("e", num(fixed(b[j]))), num(fixed(total, 2))), op("="),
            num(fixed(c[j], 3))),
        couplingRows(i),
        h("p", {class: "quiet"},
            leaky ? "Leaky routing has one more logit, always 0: what it gets goes to no class."
                  : "A softmax knows its logits b only up to a constant; they are shown " +
                    "with mean 0."));
}

function plainCouplings(i) {
    const c = state.routing.routing.couplings[iteration()][i];
    return h("p", {}, c.map((x, j) => `${className(j)}: ${fixed(x, 3)}`).join(" · "));
}

/* There is no room for the term on a phone. */
const long = (headings, k) => (headings[k] === "the term" ? "long" : "");

function lossTable(headings, rows) {
    return h("div",
        {class: "scroll", tabindex: "0", role: "region", "aria-label": "The loss of each class"},
        h("table", {class: "numbers"},
            h("thead", {},
                h("tr", {},
                    headings.map((t, k) => h("th", {scope: "col", class: long(headings, k)}, t)))),
            h("tbody", {},
                rows.map(
                    ([cells, here]) => h("tr", {class: here ? "here" : ""},
                        cells.map((c, k) => h(k ? "td" : "th",
                                      k ? {class: long(headings, k)} : {scope: "row"}, c)))))));
}

/* The classes that count as true: those of the data, else the network's own answer. */
function truth() {
    const labels = trueLabels();
    return labels.length
        ? {labels, text: `The data say ${labels.map(className).join(" and ")}.`}
        : {
              labels: [state.prediction.label],
              text: `Nobody has labelled this image; ${className(state.prediction.label)} ` +
                  "is taken for true."
          };
}

function marginPart() {
    const {lengths} = state.prediction, {labels, text} = truth();
    const up = (x) => square(row(v("max"), op("("), num(0), op(","), x, op(")")));
    const terms = lengths.map((l, j) => (labels.includes(j) ? Math.max(0, 0.9 - l) ** 2
                                                            : 0.5 * Math.max(0, l - 0.1) ** 2));
    const term = (l, j) => (labels.includes(j) ? `max(0, 0.9 − ${fixed(l, 3)})²`
        : `0.5 max(0, ${fixed(l, 3)} − 0.1)²`);
    const rows = lengths.map((l, j) => [
        [className(j), labels.includes(j) ? "1" : "0", fixed(l, 3), term(l, j), fixed(terms[j], 5)],
        labels.includes(j),
    ]);
    return part("Margin loss: long where true, short elsewhere",
        eq(sub("L", "j"), op("="), sub("T", "j"),
            up(row(num("0.9"), op("−"), norm(sub("v", "j"))))),
        eq(op("+"), num("0.5"), op("("), num(1), op("−"), sub("T", "j"), op(")"),
            up(row(norm(sub("v", "j")), op("−"), num("0.1")))),
        h("p", {}, text), lossTable(["class", "T", "length", "the term", "L"], rows),
        h("p", {}, `Together: ${fixed(terms.reduce((a, b) => a + b, 0), 5)}.`));
}

function spreadPart() {
    const {lengths} = state.prediction, {labels, text} = truth(), t = labels[0];
    const terms =
        lengths.map((a, j) => (labels.includes(j) ? 0 : Math.max(0, 0.9 - (lengths[t] - a)) ** 2));
    return part("Spread loss: the true class ahead of all others",
        eq(sub("L", "j"), op("="),
            square(row(v("max"), op("("), num(0), op(","), num("0.9"), op("−"), op("("),
                sub("a", "t"), op("−"), sub("a", "j"), op(")"), op(")")))),
        h("p", {}, `${text} Its activation is ${fixed(lengths[t], 3)}.`),
        lossTable(["class", "activation", "L"],
            lengths.map(
                (a, j) => [
                    [className(j), fixed(a, 3), labels.includes(j) ? "–" : fixed(terms[j], 5)],
                    labels.includes(j)])),
        h("p", {}, `Together: ${fixed(terms.reduce((a, b) => a + b, 0), 5)}.`));
}

function entropyPart() {
    const {lengths} = state.prediction, {labels, text} = truth(), p = lengths[labels[0]];
    return part("Cross entropy: the surprise about the true class",
        eq(v("L"), op("="), op("−"), of("ln", sub("p", "t"))), h("p", {}, text),
        eq(v("L"), op("="), op("−"), of("ln", num(fixed(p, 4))), op("="),
            num(fixed(-Math.log(Math.max(p, 1e-12)), 4))));
}

function draw() {
    if (!state.prediction)
        return;
    const {kind, routing} = model(), j = theClass(), parts = [];
    /* Self-routing squashes nothing. */
    if (kind === "vector" && routing && routing.kind !== "self")
        parts.push(squashPart(j));
    if (kind !== "cnn" && state.routing?.routing)
        parts.push(couplingPart(j));
    parts.push(kind === "cnn" ? entropyPart() : kind === "matrix" ? spreadPart() : marginPart());
    box.replaceChildren(...parts);
}

function setIdea() {
    panel.setIdea(model().kind === "cnn"
            ? "What this CNN is trained to make small, for the image on this page."
            : "What the paper writes with letters, computed for the image on this " +
                "page. They change while you draw.");
}

export function begin() {
    panel = new Panel("equations", {
        idea: "",
        update: () => {
            needCouplings();
            draw();
        },
        csv: () => [["class", "true", "score"],
            ...state.prediction.lengths.map(
                (l, j) => [className(j), truth().labels.includes(j) ? 1 : 0, l])]
    });
    box = h("div", {class: "equation-box"});
    panel.body.append(box);
    setIdea();
    const show = () => panel.visible && draw();
    on("prediction", () => panel.needNow());
    for (const name of ["routing", "class", "place"])
        on(name, show);
    on("model", setIdea);
}
