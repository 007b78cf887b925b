// Weft's version, as every command and daemon says it.
export const VERSION = '0.1.0';
