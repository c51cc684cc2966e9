// The page's texts, in the language of its elements.

import { en } from "./texts-en.js";

/** All texts of the page in one language. */
export type Texts = typeof en;

/**
 * Languages beside English, by the first part of their code (BCP 47). Each is a file of its own, loaded when it is
 * wanted.
 */
const OTHERS: Record<string, () => Promise<Texts>> = {
  de: async () => (await import("./texts-de.js")).de,
};

/** The texts in use: in English until {@link speakLanguage} has loaded others. */
export let texts: Texts = en;

/** Returns the first of these languages in which the page speaks: "en" if there is none. */
export function languageOf(codes: readonly string[]): string {
  const known = codes
    .map((code) => code.toLowerCase().split("-")[0] ?? "")
    .find((code) => code === "en" || Object.hasOwn(OTHERS, code));
  return known ?? "en";
}

/** The language that was wanted last. */
let wanted = "en";

/** Speaks this language from now on, if the page has it; otherwise, or if its file can't be loaded, English. */
export async function speakLanguage(code: string): Promise<void> {
  wanted = languageOf([code]);
  const language = wanted;
  const loaded = (await OTHERS[language]?.().catch(() => en)) ?? en;
  // another one may be wanted meanwhile
  if (language === wanted) texts = loaded;
}
