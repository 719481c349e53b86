// The shape of every state machine. Floor 0, pure.

/** What a machine answers: the next state, and what the driver must do about it. */
export type Step<State, Effect> = readonly [State, readonly Effect[]]
