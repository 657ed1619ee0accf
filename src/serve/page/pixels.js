/* Images: arrays [C*H*W] of values 0 to 1 (of standardised data, about -2 to 2), and the canvases
 * that show them. */

/* What a canvas shows, so that it can be painted again in other colours. */
const shown = new WeakMap();

export const isDark = () => {
    const theme = document.documentElement.dataset.theme;
    return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

/* 0 and 1 of a grey image: paper and ink. */
const papers = {
    light: [[255, 255, 255], [22, 24, 30]],
    dark: [[9, 11, 14], [245, 245, 240]]
};
/* Two digits: orange and blue, told apart by colour-blind people too. */
export const PAIR = {
    light: [[213, 94, 0], [0, 104, 168]],
    dark: [[255, 150, 30], [70, 170, 255]]
};

const mix = (a, b, t) => a + (b - a) * t;

/* What counts as paper and as ink. Standardised data have mean 0 and variance 1 in place of 0 to
 * 1. */
let low = 0, high = 1;
export function setStandardised() {
    low = -2;
    high = 2;
}
/* A value as a share of ink, and back. */
export const unit = (v) => Math.min(1, Math.max(0, (v - low) / (high - low)));
export const ink = (share) => low + (high - low) * share;

/* The colours of 256 steps from paper to ink, as the bytes of a canvas. */
function ramp([paper, end]) {
    return new Uint32Array(Uint8ClampedArray.from({length: 1024}, (_, n) => {
        const v = (n >> 2) / 255, k = n & 3;
        return k === 3 ? 255 : mix(paper[k], end[k], v);
    }).buffer);
}
const ramps = {light: ramp(papers.light), dark: ramp(papers.dark)};

function pairAt(a, b, p, theme) {
    const [first, second] = PAIR[theme];
    const x = unit(a[p]), y = unit(b[p]);
    return [0, 1, 2].map((k) => theme === "light"
            ? (mix(255, first[k], x) * mix(255, second[k], y)) / 255
            : Math.min(255, papers.dark[0][k] + first[k] * x + second[k] * y));
}

function repaint(canvas) {
    const {image, shape, second} = shown.get(canvas);
    const {channels, height, width} = shape;
    const size = height * width, theme = isDark() ? "dark" : "light";
    if (canvas.width !== width || canvas.height !== height)
        Object.assign(canvas, {width, height});
    const context = canvas.getContext("2d"), data = context.createImageData(width, height);
    if (!second && channels !== 3) {
        const colours = new Uint32Array(data.data.buffer);
        for (let p = 0; p < size; p++)
            colours[p] = ramps[theme][Math.round(255 * unit(image[p]))];
    } else {
        for (let p = 0; p < size; p++)
            data.data.set([...(second ? pairAt(image, second, p, theme)
                : [0, 1, 2].map((k) => 255 * unit(image[k * size + p]))), 255], 4 * p);
    }
    context.putImageData(data, 0, 0);
}

/* Shows an image; `second`: another one over it, each in its colour. Of two channels (two cameras)
 * the first is shown. */
export function paint(canvas, image, shape, second = null) {
    shown.set(canvas, {image, shape, second});
    canvas.classList.add("picture");
    repaint(canvas);
}

export function repaintAll() {
    document.querySelectorAll("canvas.picture").forEach((c) => shown.has(c) && repaint(c));
}

export const pixelCount = ({channels, height, width}) => channels * height * width;
export const blank = (shape) => new Float64Array(pixelCount(shape)).fill(low);
export const isBlank = (image) => !image || image.every((v) => unit(v) < 0.02);
/* As few digits as are needed: requests are text. */
export const toSend = (image) => Array.from(image, (v) => Math.round(v * 1e5) / 1e5);

/* One channel at (x, y) between pixels, paper outside. */
function sample(image, start, {height, width}, x, y) {
    const x0 = Math.floor(x), y0 = Math.floor(y);
    let sum = 0;
    for (const [i, j, w] of [[x0, y0, (x0 + 1 - x) * (y0 + 1 - y)],
             [x0 + 1, y0, (x - x0) * (y0 + 1 - y)], [x0, y0 + 1, (x0 + 1 - x) * (y - y0)],
             [x0 + 1, y0 + 1, (x - x0) * (y - y0)]])
        if (i >= 0 && j >= 0 && i < width && j < height)
            sum += w * image[start + j * width + i];
        else
            sum += w * low;
    return sum;
}

/* out(x, y) = image(from(x, y)) */
export function warp(image, from, to, map) {
    const out = blank(to), size = from.height * from.width;
    for (let c = 0; c < to.channels; c++)
        for (let y = 0; y < to.height; y++)
            for (let x = 0; x < to.width; x++) {
                const [u, v] = map(x, y);
                const channel = Math.min(c, from.channels - 1);
                out[(c * to.height + y) * to.width + x] = sample(image, channel * size, from, u, v);
            }
    return out;
}

/* Into the middle of an image of another size, without scaling. */
export function place(image, from, to, dx = 0, dy = 0) {
    const x0 = (from.width - to.width) / 2, y0 = (from.height - to.height) / 2;
    return warp(image, from, to, (x, y) => [x + Math.floor(x0) - dx, y + Math.floor(y0) - dy]);
}

/* The centre of mass to the middle and the longer side to 20/28 of the image, as MNIST has it. */
export function fit(image, shape) {
    const {height, width} = shape;
    let left = width, right = -1, top = height, bottom = -1, sum = 0, mx = 0, my = 0;
    for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
            const v = unit(image[y * width + x]);
            if (v <= 0.1)
                continue;
            left = Math.min(left, x);
            right = Math.max(right, x);
            top = Math.min(top, y);
            bottom = Math.max(bottom, y);
            sum += v;
            mx += v * x;
            my += v * y;
        }
    if (right < 0)
        return image;
    const want = Math.min(20, (20 / 28) * Math.min(height, width));
    const scale = Math.max(right - left + 1, bottom - top + 1) / want;
    mx /= sum;
    my /= sum;
    return warp(image, shape, shape,
        (x, y) => [(x - (width - 1) / 2) * scale + mx, (y - (height - 1) / 2) * scale + my]);
}

/* A picture file as an image of this shape: the whole of it, in the middle. A grey one that is
 * dark on light paper is turned over and fitted, since the data are light on dark. */
export async function fromFile(file, shape) {
    const bitmap = await createImageBitmap(file);
    const {channels, height, width} = shape, size = height * width;
    const canvas = Object.assign(document.createElement("canvas"), {width, height});
    const context = canvas.getContext("2d", {willReadFrequently: true});
    const zoom = Math.min(width / bitmap.width, height / bitmap.height);
    const w = bitmap.width * zoom, ht = bitmap.height * zoom;
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, (width - w) / 2, (height - ht) / 2, w, ht);
    const {data} = context.getImageData(0, 0, width, height);
    const image = blank(shape);
    if (channels === 3) {
        for (let p = 0; p < size; p++)
            for (let k = 0; k < 3; k++)
                image[k * size + p] = ink((data[4 * p + k] / 255) * (data[4 * p + 3] / 255));
        return image;
    }
    return fromGrey(data, shape);
}

function fromGrey(data, shape) {
    const {channels, height, width} = shape, size = height * width, image = blank(shape);
    const grey = (p) =>
        (0.299 * data[4 * p] + 0.587 * data[4 * p + 1] + 0.114 * data[4 * p + 2]) / 255;
    const seen = (p) => data[4 * p + 3] / 255;
    let border = 0, n = 0;
    for (let p = 0; p < size; p++) {
        const x = p % width, y = Math.floor(p / width);
        if (seen(p) > 0.5 && (x === 0 || y === 0 || x === width - 1 || y === height - 1)) {
            border += grey(p);
            n++;
        }
    }
    const onPaper = n > 0 && border / n > 0.5;
    for (let p = 0; p < size; p++)
        image[p] = ink(seen(p) * (onPaper ? 1 - grey(p) : grey(p)));
    const one = onPaper ? fit(image, {channels: 1, height, width}) : image;
    for (let c = 0; c < channels; c++)
        for (let p = 0; p < size; p++)
            image[c * size + p] = one[p];
    return image;
}

/* A grey image in an address: 16 levels, two pixels a byte, base64 with letters that addresses
 * may have. */
export function toText(image) {
    let bytes = "";
    for (let p = 0; p < image.length; p += 2)
        bytes += String.fromCharCode(
            (Math.round(unit(image[p]) * 15) << 4) | Math.round(unit(image[p + 1] ?? low) * 15));
    return btoa(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

export function fromText(text, shape) {
    const image = blank(shape);
    let bytes;
    try {
        bytes = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    } catch {
        return null;
    }
    if (bytes.length !== Math.ceil(image.length / 2))
        return null;
    for (let p = 0; p < image.length; p++)
        image[p] = ink(((bytes.charCodeAt(p >> 1) >> (p % 2 ? 0 : 4)) & 15) / 15);
    return image;
}
