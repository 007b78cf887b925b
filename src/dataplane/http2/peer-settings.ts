// What the peer has said in SETTINGS, checked as RFC 9113 §6.5.2 asks, and what we say ourselves.
import {
  DEFAULT_WINDOW_BYTES,
  ERROR,
  MAX_FRAME_BYTES,
  MAX_WINDOW_BYTES,
  SETTING,
} from './frames.ts';
import { HEADER_LIST_BYTES_MAX } from './header-list.ts';

/** 1 MiB a stream keeps one fast stream busy without letting a slow reader hoard. */
export const STREAM_WINDOW_BYTES = 1_048_576;
/** Of one downstream connection at once. */
export const MAX_CONCURRENT_STREAMS = 256;
/** What a peer that says nothing is believed to take at once. */
const DEFAULT_CONCURRENCY = 100;
const MAX_FRAME_SETTING = 2 ** 24 - 1;
const SETTING_BYTES = 6;

export const SERVER_SETTINGS: readonly number[] = [
  SETTING.maxConcurrentStreams,
  MAX_CONCURRENT_STREAMS,
  SETTING.initialWindowSize,
  STREAM_WINDOW_BYTES,
  SETTING.maxHeaderListSize,
  HEADER_LIST_BYTES_MAX,
];

export const CLIENT_SETTINGS: readonly number[] = [
  SETTING.enablePush,
  0,
  SETTING.initialWindowSize,
  STREAM_WINDOW_BYTES,
  SETTING.maxHeaderListSize,
  HEADER_LIST_BYTES_MAX,
];

export interface SettingsRefusal {
  readonly code: number;
  readonly reason: string;
}

export class PeerSettings {
  /** The table that our encoder may use. */
  headerTableBytes = 4_096;
  maxConcurrentStreams = DEFAULT_CONCURRENCY;
  initialWindowBytes = DEFAULT_WINDOW_BYTES;

  /** @param isServer whether the peer is one. @returns why the connection ends. */
  take(payload: Buffer, isServer: boolean): SettingsRefusal | undefined {
    for (let at = 0; at + SETTING_BYTES <= payload.length; at += SETTING_BYTES) {
      const value = payload.readUInt32BE(at + 2);
      const refusal = this.#set(payload.readUInt16BE(at), value, isServer);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  #set(setting: number, value: number, isServer: boolean): SettingsRefusal | undefined {
    switch (setting) {
      case SETTING.headerTableSize:
        this.headerTableBytes = value;
        return undefined;
      case SETTING.maxConcurrentStreams:
        this.maxConcurrentStreams = value;
        return undefined;
      case SETTING.initialWindowSize:
        if (value > MAX_WINDOW_BYTES) {
          return { code: ERROR.flowControl, reason: 'SETTINGS_INITIAL_WINDOW_SIZE too large' };
        }
        this.initialWindowBytes = value;
        return undefined;
      case SETTING.enablePush:
        return value <= (isServer ? 0 : 1)
          ? undefined
          : { code: ERROR.protocol, reason: 'SETTINGS_ENABLE_PUSH out of range' };
      case SETTING.maxFrameSize:
        return value >= MAX_FRAME_BYTES && value <= MAX_FRAME_SETTING
          ? undefined
          : { code: ERROR.protocol, reason: 'SETTINGS_MAX_FRAME_SIZE out of range' };
      default:
        return undefined;
    }
  }
}
