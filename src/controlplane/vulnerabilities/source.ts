// What a source of reports of vulnerabilities is asked: what is known of an image, by its digest or by who runs it.
import type { ImageReference } from '@weft/model/admission/image-reference';
import type { VulnerabilityReport } from '@weft/model/admission/vulnerability-types';

/** An image as it is used. */
export interface ImageInUse {
  /** Of whoever uses it: reports that stand there are believed before others. */
  readonly namespace: string;
  /** By which it is known: of the name that it is used by, and of what was pulled. `sha256:…`. */
  readonly digests: readonly string[];
  /** Absent: the name is none that every runtime reads alike. */
  readonly reference: ImageReference | undefined;
  /** Absent where nothing runs yet. */
  readonly runBy?: {
    /** `ReplicaSet/web-1`, `Pod/web-1-x`. */
    readonly workloads: readonly string[];
    readonly container: string;
  };
}

/** Reports that somebody else makes. Signed attestations would be another of these. */
export interface VulnerabilitySource extends AsyncDisposable {
  /** Once it has said all that it knew at the start, or that it knows nothing. */
  readonly isRead: boolean;
  /** Why nothing is heard of it, as a sentence. */
  readonly problem: string | undefined;
  find(image: ImageInUse): VulnerabilityReport | undefined;
  /** Called after each change of any of these. */
  subscribe(listener: () => void): Disposable;
}
