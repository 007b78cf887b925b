// Answers `/v1/explain`: may this caller do that there, and why; judged on the mesh that is in force.
import {
  explainCalls,
  formatQuestionProblems,
  type OwnServers,
} from '@weft/model/policy/explain-calls';
import { formatExplanation } from '@weft/model/policy/format-explanation';
import { readQuestion } from '@weft/model/policy/question';
import type { MeshViews } from '../compile/mesh-views.ts';
import type { QuestionOutcome } from './http-server.ts';

/** @param query as `writeQuestion` makes it: `from=shop/web&to=shop/prices&method=GET&path=/x`. */
export function answerExplain(
  views: Pick<MeshViews, 'mesh' | 'snapshot' | 'revision'>,
  query: URLSearchParams,
  ownServers: () => OwnServers,
): QuestionOutcome {
  const question = readQuestion(query);
  if (!question.ok) return refuse(400, question);
  const explained = explainCalls(
    { mesh: views.mesh(), snapshot: views.snapshot() },
    question.value,
    ownServers(),
  );
  if (!explained.ok) return refuse(404, explained);
  const answers = explained.value;
  return {
    status: 200,
    body: {
      revision: views.revision,
      isAllowed: answers.every(({ isAllowed }) => isAllowed),
      text: answers.map((one) => formatExplanation(question.value, one)).join('\n\n'),
      answers,
    },
  };
}

const refuse = (
  status: 400 | 404,
  refused: Parameters<typeof formatQuestionProblems>[0],
): QuestionOutcome => ({
  status,
  body: { error: formatQuestionProblems(refused), problems: refused.problems },
});
