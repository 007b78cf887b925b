// The `weft` command: every command there is, and where it lives.
import { loadSidecarCommand } from './load-sidecar.ts';
import { type Register, runProgram } from './program.ts';

/** Every command and where it lives. A daemon's start-up must not pay for the others. */
const COMMANDS: ReadonlyMap<string, () => Promise<Register>> = new Map([
  [
    'control-plane',
    async () => (await import('./commands/control-plane.ts')).addControlPlaneCommand,
  ],
  ['sidecar', () => loadSidecarCommand(process.argv)],
  ['guard', async () => (await import('./envoy/guard.ts')).addGuardCommand],
  ['htpasswd', async () => (await import('./commands/htpasswd.ts')).addHtpasswdCommand],
  ['run', async () => (await import('./commands/run.ts')).addRunCommand],
  ['demo', async () => (await import('./commands/demo.ts')).addDemoCommand],
  ['token', async () => (await import('./commands/token.ts')).addTokenCommands],
  ['ca', async () => (await import('./commands/ca.ts')).addCaCommands],
  ['status', async () => (await import('./commands/inspect.ts')).addInspectCommands],
  ['config-dump', async () => (await import('./commands/inspect.ts')).addInspectCommands],
  ['certs', async () => (await import('./commands/inspect.ts')).addInspectCommands],
  ['ready', async () => (await import('./commands/inspect.ts')).addInspectCommands],
  ['policy', async () => (await import('./commands/policy.ts')).addPolicyCommands],
  ['admission', async () => (await import('./commands/admission.ts')).addAdmissionCommands],
  ['trust', async () => (await import('./commands/trust.ts')).addTrustCommands],
  ['credentials', async () => (await import('./commands/credentials.ts')).addCredentialsCommands],
  ['capture', async () => (await import('./commands/capture.ts')).addCaptureCommands],
  ['inject', async () => (await import('./commands/inject.ts')).addInjectCommands],
  ['uninject', async () => (await import('./commands/inject.ts')).addInjectCommands],
  ['install', async () => (await import('./commands/install.ts')).addInstallCommand],
  ['check', async () => (await import('./commands/check.ts')).addCheckCommand],
  ['exec', async () => (await import('./commands/exec.ts')).addExecCommand],
  ['upgrade', async () => (await import('./commands/install.ts')).addUpgradeCommand],
  ['uninstall', async () => (await import('./commands/uninstall.ts')).addUninstallCommand],
]);

const EXAMPLES = `
Examples:
  weft demo                                   see a small mesh at work on this machine
  weft control-plane --manifests ./manifests --state-dir ./state
  weft token create --state-dir ./state --namespace shop --service-account web > web.token
  weft run --pod web-0 --namespace shop --pod-ip 127.0.0.2 --token-file web.token \\
           --bundle ./state/bundle.pem --inbound 8080=127.0.0.1:3000 -- node server.js
  weft sidecar --config sidecar.yaml          before one application, without a mesh
  weft inject -f deployment.yaml              the sidecar in the workloads of manifests
  weft status                                 proxies, policies in force, problems
  weft policy check policies.yaml             what is wrong with these policies
  weft policy explain --help                  who may call whom, and why
  weft config-dump --admin 127.0.0.1:15000    what a sidecar runs with
`;

await runProgram(process.argv, { commands: COMMANDS, examples: EXAMPLES });
