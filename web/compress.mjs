// compress.mjs FOLDER [BYTES]: writes each file of a folder twice more, compressed by brotli and by gzip (browsers take
// brotli by https and from localhost alone), and prints the sums; fails if that of brotli is more than so many bytes.
// Texts in another language than English aren't counted: they are loaded where that language is wanted.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const folder = process.argv[2];
let [sum, gzipped] = [0, 0];
for (const name of readdirSync(folder)) {
  const text = readFileSync(`${folder}/${name}`);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
    [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
  };
  const compressed = brotliCompressSync(text, { params });
  const isCounted = !name.startsWith("texts-");
  sum += isCounted ? compressed.length : 0;
  writeFileSync(`${folder}/${name}.br`, compressed);
  const byGzip = gzipSync(text, { level: constants.Z_BEST_COMPRESSION });
  gzipped += isCounted ? byGzip.length : 0;
  writeFileSync(`${folder}/${name}.gz`, byGzip);
}
const budget = Number(process.argv[3] ?? Infinity);
if (sum > budget) throw new Error(`the page has ${sum} bytes compressed, ${budget} are allowed`);
console.log(`the page: ${Math.round(sum / 1024)} KiB compressed, ${Math.round(gzipped / 1024)} KiB by gzip`);
