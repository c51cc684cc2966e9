// Bit rates, as the page shows them in each language.

export const megabits = (bps: number) => `${(bps / 1e6).toFixed(1)} Mbit/s`;
