/* What is seen, as PNG; the numbers behind it, as CSV. */

import {complain} from "./dom.js";

function download(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const cell = (v) => {
    const text = String(v ?? "");
    return /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
};

export function saveCsv(rows, name) {
    const text = rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
    download(new Blob([text], {type: "text/csv"}), `${name}.csv`);
}

/* The page as a picture. A browser has no such function for a page without rights, so the elements
 * are drawn one by one at the places that they have: boxes, canvases, shapes of SVG, lines of
 * text, rules of formulas. */
class Picture {
    constructor(element) {
        this.origin = element.getBoundingClientRect();
        this.scale = 2;
        this.canvas = document.createElement("canvas");
        this.canvas.width = Math.ceil(this.origin.width * this.scale);
        this.canvas.height = Math.ceil(this.origin.height * this.scale);
        this.context = this.canvas.getContext("2d");
        this.context.scale(this.scale, this.scale);
        this.context.fillStyle = getComputedStyle(document.body).backgroundColor;
        this.context.fillRect(0, 0, this.origin.width, this.origin.height);
        this.element(element);
    }

    box(rect) {
        return [rect.left - this.origin.left, rect.top - this.origin.top, rect.width, rect.height];
    }

    element(element) {
        const style = getComputedStyle(element);
        if (style.display === "none" || style.visibility === "hidden" || style.opacity === "0" ||
            element.matches(".unseen, .saves, [hidden], option"))
            return;
        if (element instanceof SVGSVGElement)
            return this.svg(element);
        this.background(element, style);
        if (element instanceof HTMLCanvasElement)
            return this.pixels(element);
        if (element instanceof HTMLImageElement)
            return;
        if (element.matches("input, select"))
            return this.control(element, style);
        for (const child of element.childNodes) {
            if (child.nodeType === Node.TEXT_NODE)
                this.text(child, style, element.localName === "mi" && child.data.length === 1);
            else if (child.nodeType === Node.ELEMENT_NODE)
                this.element(child);
        }
        this.rules(element, style);
    }

    background(element, style) {
        const [x, y, width, height] = this.box(element.getBoundingClientRect());
        const radius = parseFloat(style.borderTopLeftRadius) || 0, {context} = this;
        context.beginPath();
        context.roundRect(x, y, width, height, Math.min(radius, width / 2, height / 2));
        if (!/^rgba\(.*, 0\)$|transparent/.test(style.backgroundColor)) {
            context.fillStyle = style.backgroundColor;
            context.fill();
        }
        for (const [side, line] of [["Bottom", [x, y + height, x + width, y + height]],
                 ["Top", [x, y, x + width, y]], ["Left", [x, y, x, y + height]],
                 ["Right", [x + width, y, x + width, y + height]]]) {
            const wide = parseFloat(style[`border${side}Width`]);
            if (!wide || style[`border${side}Style`] === "none" || radius > 0)
                continue;
            this.line(line, style[`border${side}Color`], wide);
        }
        if (radius > 0 && parseFloat(style.borderTopWidth) > 0) {
            context.strokeStyle = style.borderTopColor;
            context.lineWidth = parseFloat(style.borderTopWidth);
            context.stroke();
        }
    }

    line([x0, y0, x1, y1], colour, wide) {
        const {context} = this;
        context.strokeStyle = colour;
        context.lineWidth = wide;
        context.beginPath();
        context.moveTo(x0, y0);
        context.lineTo(x1, y1);
        context.stroke();
    }

    pixels(canvas) {
        this.context.imageSmoothingEnabled = false;
        this.context.globalAlpha = parseFloat(getComputedStyle(canvas).opacity);
        if (canvas.width && canvas.height)
            this.context.drawImage(canvas, ...this.box(canvas.getBoundingClientRect()));
        this.context.globalAlpha = 1;
    }

    /* A slider as a track with a thumb, a choice as its text. */
    control(element, style) {
        const [x, y, width, height] = this.box(element.getBoundingClientRect()), {context} = this;
        if (element.type === "range") {
            const share = (element.value - element.min) / (element.max - element.min || 1);
            this.line([x, y + height / 2, x + width, y + height / 2], style.color, 2);
            context.fillStyle = style.accentColor === "auto" ? style.color : style.accentColor;
            context.beginPath();
            context.arc(x + 8 + share * (width - 16), y + height / 2, 7, 0, 2 * Math.PI);
            context.fill();
        } else if (["select-one", "number", "text"].includes(element.type)) {
            const text = element.selectedOptions?.[0]?.textContent ?? element.value;
            this.write(text, x + 8, y + height / 2, style, "middle");
        }
    }

    write(text, x, y, style, baseline = "alphabetic", italic = false) {
        const {context} = this;
        context.font = `${italic ? "italic" : style.fontStyle} ${style.fontWeight} ${
            style.fontSize} ${style.fontFamily}`;
        context.fillStyle = style.color;
        context.textBaseline = baseline;
        context.textAlign = "left";
        context.fillText(text, x, y);
    }

    /* Each line of a text where it stands: words are put together while they share a line. A
     * variable of a formula is set in italics, which its style does not say. */
    text(node, style, italic) {
        const words = [...node.data.matchAll(/\S+/g)];
        let line = null;
        const flush = () => line && this.write(line.text, line.x, line.y, style, "middle", italic);
        for (const word of words) {
            const span = document.createRange();
            span.setStart(node, word.index);
            span.setEnd(node, word.index + word[0].length);
            const rect = span.getBoundingClientRect();
            if (!rect.width)
                continue;
            const [x, y, , height] = this.box(rect);
            if (line && Math.abs(line.y - (y + height / 2)) < 2)
                line.text += ` ${word[0]}`;
            else {
                flush();
                line = {text: word[0], x, y: y + height / 2};
            }
        }
        flush();
    }

    /* The bar of a fraction lies between its two parts. */
    rules(element, style) {
        if (element.localName !== "mfrac")
            return;
        const [above, below] = [...element.children].map((e) => e.getBoundingClientRect());
        const [x, , width] = this.box(element.getBoundingClientRect());
        const y = (above.bottom + below.top) / 2 - this.origin.top;
        this.line([x, y, x + width, y], style.color, 1);
    }

    svg(root) {
        const [x, y] = this.box(root.getBoundingClientRect()), {context} = this;
        const matrix = root.getScreenCTM(), start = new DOMMatrix([
            matrix.a, 0, 0, matrix.d, matrix.e - this.origin.left, matrix.f - this.origin.top
        ]);
        context.save();
        context.beginPath();
        context.rect(x - 2, y - 2, root.getBoundingClientRect().width + 4,
            root.getBoundingClientRect().height + 4);
        context.clip();
        context.transform(start.a, 0, 0, start.d, start.e, start.f);
        for (const child of root.children)
            this.mark(child);
        context.restore();
    }

    mark(element) {
        const style = getComputedStyle(element), {context} = this;
        if (style.display === "none" || style.visibility === "hidden" ||
            element.localName === "title")
            return;
        context.save();
        const own = element.transform?.baseVal?.consolidate()?.matrix;
        if (own)
            context.transform(own.a, own.b, own.c, own.d, own.e, own.f);
        context.globalAlpha *= parseFloat(style.opacity);
        if (element.localName === "g")
            [...element.children].forEach((child) => this.mark(child));
        else if (element.localName === "text")
            this.label(element, style);
        else
            this.path(shapePath(element), style);
        context.restore();
    }

    path(path, style) {
        const {context} = this;
        if (style.fill !== "none") {
            context.fillStyle = style.fill;
            context.globalAlpha *= parseFloat(style.fillOpacity);
            context.fill(path);
        }
        if (style.stroke !== "none") {
            context.setLineDash(style.strokeDasharray === "none"
                    ? []
                    : style.strokeDasharray.split(/[ ,]+/).map(parseFloat));
            context.strokeStyle = style.stroke;
            context.lineWidth = parseFloat(style.strokeWidth);
            context.lineJoin = style.strokeLinejoin;
            context.stroke(path);
        }
    }

    label(element, style) {
        const {context} = this;
        context.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
        context.fillStyle = style.fill;
        context.textAlign = {middle: "center", end: "right"}[style.textAnchor] || "left";
        context.textBaseline = style.dominantBaseline === "central" ? "middle" : "alphabetic";
        context.fillText(element.textContent, Number(element.getAttribute("x")),
            Number(element.getAttribute("y")));
    }
}

function shapePath(element) {
    const path = new Path2D(), n = (name) => Number(element.getAttribute(name)) || 0;
    switch (element.localName) {
        case "path":
            return new Path2D(element.getAttribute("d"));
        case "rect":
            path.roundRect(n("x"), n("y"), n("width"), n("height"), n("rx"));
            break;
        case "circle":
            path.arc(n("cx"), n("cy"), n("r"), 0, 2 * Math.PI);
            break;
        case "line":
            path.moveTo(n("x1"), n("y1"));
            path.lineTo(n("x2"), n("y2"));
            break;
    }
    return path;
}

export function drawPicture(element) {
    return new Picture(element).canvas;
}

export function savePng(element, name) {
    drawPicture(element).toBlob((blob) => {
        if (blob)
            download(blob, `${name}.png`);
        else
            complain("This browser could not make a picture of the panel.");
    }, "image/png");
}
