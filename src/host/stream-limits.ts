// Bounds of streams that hold whatever the transport: yamux and QUIC are given the same. Floor 1.

/** Streams of one connection and direction, all protocols together. */
export const STREAMS_MAX = 512

/** Bytes one stream may have on the way: what a paused stream holds at most. */
export const STREAM_WINDOW_BYTES_MAX: number = 2 * 1024 * 1024

/** Received bytes nobody reads at which a stream is reset; above the window, so only a cheat gets there. */
export const READ_BUFFER_BYTES_MAX: number = 4 * 1024 * 1024

/** Queued bytes at which a stream is reset: its writer ignored back-pressure. */
export const WRITE_BUFFER_BYTES_MAX: number = 16 * 1024 * 1024
