/** Where the report is kept. */
export const reportFile: string;
/** The public types as they are now. */
export function apiReport(): string;
