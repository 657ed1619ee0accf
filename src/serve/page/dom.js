/* Small helpers to make elements. */

const SVG = "http://www.w3.org/2000/svg";
const MATH = "http://www.w3.org/1998/Math/MathML";

function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
        if (name.startsWith("on"))
            element.addEventListener(name.slice(2), value);
        else if (value === true)
            element.setAttribute(name, "");
        else if (value !== false && value !== null && value !== undefined)
            element.setAttribute(name, value);
    }
    element.append(...children.flat(3).filter((c) => c !== null && c !== undefined && c !== false));
    return element;
}

/* h("button", {class: "x", onclick: f}, "text", child...) */
export function h(tag, attributes, ...children) {
    return fill(document.createElement(tag), attributes, children);
}

/* The same for SVG and for MathML. */
export function s(tag, attributes, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
}
export function m(tag, attributes, ...children) {
    return fill(document.createElementNS(MATH, tag), attributes, children);
}

export const byId = (id) => document.getElementById(id);

let serial = 0;
export const freshId = (stem) => `${stem}-${++serial}`;

/* A button with an icon's or a word's look; `label` is what a screen reader says. */
export function button(text, onclick, attributes = {}) {
    return h("button", {type: "button", onclick, ...attributes}, text);
}

/* A labelled range input: {element, input, show(value)}. */
export function range({label, min, max, step, value, format = String, oninput}) {
    const id = freshId("range");
    const input = h("input", {type: "range", id, min, max, step, value});
    const output = h("output", {for: id
    }, format(Number(value)));
    const show = (v) => {
        input.value = v;
        output.textContent = format(Number(v));
        input.setAttribute("aria-valuetext", format(Number(v)));
    };
    input.addEventListener("input", () => {
        show(input.value);
        oninput(Number(input.value));
    });
    show(value);
    return {
        element: h("div", {class: "range"},
            h("label",
                {for: id
                },
                label),
            input, output),
        input,
        show,
    };
}

/* A labelled choice among [value, text] pairs: {element, select}. */
export function choice(label, options, value, onchange, attributes = {}) {
    const id = freshId("choice");
    const select = h("select", {id, ...attributes}, options.map(([v,
        text]) => h("option", {value: v, selected: String(v) === String(value)}, text)));
    select.addEventListener("change", () => onchange(select.value));
    return {
        element: h("div", {class: "choice"},
            h("label",
                {for: id
                },
                label),
            select),
        select
    };
}

/* A row of buttons of which one is pressed: {element, press(value)}. */
export function switcher(label, options, value, onchange) {
    const buttons = new Map();
    const press = (v) =>
        buttons.forEach((b, key) => b.setAttribute("aria-pressed", String(key === v)));
    const element = h(
        "div", {class: "switcher", role: "group", "aria-label": label}, options.map(([v, text]) => {
            const b = button(text, () => {
                press(v);
                onchange(v);
            });
            buttons.set(v, b);
            return b;
        }));
    press(value);
    return {element, press};
}

/* Speaks through the page's live region, not more than once in a while. */
let speaking = 0;
export function say(text) {
    clearTimeout(speaking);
    speaking = setTimeout(() => {
        byId("live").textContent = text;
    }, 700);
}

export function complain(text) {
    const line = byId("trouble");
    line.hidden = !text;
    line.textContent = text || "";
}
