import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CLOSED_EARLY } from './grpc/channel.ts';
import { whyNoAnswer } from './why-no-answer.ts';

for (const [what, text, expected] of [
  ['a refusal', '7 PERMISSION_DENIED: no such Pod', /^7 PERMISSION_DENIED: no such Pod$/],
  ['a closed port', 'connect ECONNREFUSED 127.0.0.1:1', /^connect ECONNREFUSED 127\.0\.0\.1:1$/],
  [
    'an HTTP server',
    '40135B:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:x.c:78:\n',
    /^what listens there speaks no TLS/,
  ],
  [
    'a server that hangs up',
    'Client network socket disconnected before secure TLS connection was established',
    /^what listens there speaks no TLS/,
  ],
  [
    'the xDS port',
    '407376:error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:x.c:918',
    /that is the xDS port; enrolment is at 15013/,
  ],
  [
    'a clock that is behind',
    'certificate is not yet valid',
    /^certificate is not yet valid: .*is the clock behind\?/,
  ],
  [
    'a clock that is ahead',
    'certificate has expired',
    /^certificate has expired: .*is the clock ahead/,
  ],
  [
    'the enrolment port',
    '12 UNIMPLEMENTED: The server does not implement the method /weft.report.v1.Reports/Report',
    /xDS is at 15012/,
  ],
  [
    'a control plane of an older release',
    '12 UNIMPLEMENTED: The server does not implement the method /weft.credentials.v1.Credentials/Watch',
    /of an older release/,
  ],
  ['an older CA', '3 INVALID_ARGUMENT: not a RenewRequest', /is the control plane of an older rel/],
  ['an address that answers nothing', CLOSED_EARLY, /^nothing answered there in time/],
] as const) {
  test(`whyNoAnswer() says in words what ${what} means`, () => {
    const said = whyNoAnswer(text);
    assert.match(said, expected);
    assert.doesNotMatch(said, /SSL routines/);
  });
}
