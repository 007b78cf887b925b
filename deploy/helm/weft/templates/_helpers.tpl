{{/* Names and labels that every template uses. */}}

{{- define "weft.labels" -}}
app.kubernetes.io/name: weft
app.kubernetes.io/part-of: weft
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "weft.selector" -}}
app.kubernetes.io/name: weft
app.kubernetes.io/component: control-plane
{{- end }}

{{/* Of an image group and the chart: repository:tag@digest. */}}
{{- define "weft.image" -}}
{{- $tag := .image.tag | default .chart.AppVersion -}}
{{ .image.repository }}:{{ $tag }}{{ with .image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* Namespaces in which no Pod is ever injected. */}}
{{- define "weft.excludedNamespaces" -}}
{{- $own := list "kube-system" "kube-public" "kube-node-lease" .Release.Namespace -}}
{{ concat $own .Values.injector.excludedNamespaces | uniq | toJson }}
{{- end }}

{{/* What is read of the mesh, and what is said about it, in every namespace that belongs to it. */}}
{{- define "weft.meshRules" -}}
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [list, watch]
# One is looked at when it enrols.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [security.weft.dev, security.istio.io]
  resources: [authorizationpolicies, peerauthentications, requestauthentications]
  verbs: [list, watch]
- apiGroups: [security.weft.dev]
  resources: [credentialbindings, basicauthentications, tlsterminations]
  verbs: [list, watch]
- apiGroups: [security.weft.dev]
  resources: [authorizationpolicies/status, peerauthentications/status, requestauthentications/status, credentialbindings/status, basicauthentications/status, tlsterminations/status]
  verbs: [patch]
- apiGroups: [security.weft.dev]
  resources: [workloadpolicies]
  verbs: [list, watch]
- apiGroups: [security.weft.dev]
  resources: [workloadpolicies/status]
  verbs: [patch]
{{- if .Values.workloads.enabled }}
# What Trivy Operator found in images; asked for while a WorkloadPolicy asks for vulnerabilities.
- apiGroups: [aquasecurity.github.io]
  resources: [vulnerabilityreports]
  verbs: [list, watch]
{{- end }}
- apiGroups: [mesh.weft.dev]
  resources: [trafficpolicies, externalservices]
  verbs: [list, watch]
- apiGroups: [mesh.weft.dev]
  resources: [trafficpolicies/status, externalservices/status]
  verbs: [patch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes, referencegrants]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes/status, grpcroutes/status]
  verbs: [patch]
# The bundle that Pods mount, and no other ConfigMap: it is written by server-side apply, which names what it creates.
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [weft-trust-bundle]
  verbs: [get, list, watch, create, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* How registries of images are reached, as JSON; empty where nothing is said. */}}
{{- define "weft.registries" -}}
{{- if or .Values.registries.plain .Values.registries.networks .Values.registries.loginSecret -}}
{{- $file := dict "plain" .Values.registries.plain "networks" .Values.registries.networks -}}
{{- if .Values.registries.loginSecret -}}
{{- $_ := set $file "dockerConfigFile" "/etc/weft/registry-logins/.dockerconfigjson" -}}
{{- end -}}
{{- toJson $file -}}
{{- end -}}
{{- end -}}
