// The filter of logins as it is made with a listener: its code is loaded when there is one, and shared by all of the process.
import type { BasicAuth } from '@weft/xds/resources/basic-auth';
import type { GateOutcome, GateRequest, RequestGate } from '../filters/request-gate.ts';
import type { Logins } from './logins.ts';

/** What all logins share; a new list of users does not forget who failed. */
let shared: Promise<Logins> | undefined;

async function loadLogins(): Promise<Logins> {
  const { Logins: Shared } = await import('./logins.ts');
  return new Shared();
}

/** The same for each port and each version of the listener that asks for the same. */
export function createLateLoginGate(login: BasicAuth): RequestGate {
  return new LateLoginGate(login);
}

class LateLoginGate implements RequestGate {
  readonly #loading: Promise<RequestGate>;
  #gate: RequestGate | undefined;

  constructor(login: BasicAuth) {
    this.#loading = load(login);
    // Who asks meanwhile is told what went wrong; that nobody asks is no failure.
    this.#loading.then(
      (gate) => {
        this.#gate = gate;
      },
      () => undefined,
    );
  }

  check(request: GateRequest): GateOutcome | 'later' {
    return this.#gate?.check(request) ?? 'later';
  }

  async checkLater(request: GateRequest): Promise<GateOutcome> {
    try {
      const gate = await this.#loading;
      return await gate.checkLater(request);
    } catch {
      return FAILED;
    }
  }
}

/** A fault of the program; nobody passes by it. */
const FAILED: GateOutcome = {
  kind: 'refuse',
  status: 503,
  body: 'nobody can log in now',
  reasonCode: 'login-failed',
  headers: [],
};

async function load(login: BasicAuth): Promise<RequestGate> {
  shared ??= loadLogins();
  const [{ createBasicGate }, logins] = await Promise.all([import('./basic-gate.ts'), shared]);
  return createBasicGate(login, logins);
}
