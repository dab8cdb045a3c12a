{{/* The name of everything: the release's, or the release's and the chart's. */}}
{{- define "windlass.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "windlass.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "windlass.name" .) -}}
{{- end -}}

{{/* What never changes, for selectors. */}}
{{- define "windlass.selector" -}}
app.kubernetes.io/name: windlass
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* The operators: one without a shard, and one for each shard, each {top: $, shard: NAME}. */}}
{{- define "windlass.operators" -}}
{{- if and .Values.shards .Values.watchNamespaces -}}
{{- fail "shards and watchNamespaces: an operator has its namespaces by their label, or by name, not both" -}}
{{- end -}}
{{- range concat (list "") (.Values.shards | default list) }}
- {{ . | quote }}
{{- end -}}
{{- end -}}

{{/* The name of an operator's objects: {top: $, shard: NAME}. */}}
{{- define "windlass.operatorName" -}}
{{- if .shard -}}
{{- printf "%s-shard-%s" (include "windlass.name" .top | trunc 28 | trimSuffix "-") .shard -}}
{{- else -}}
{{- include "windlass.name" .top -}}
{{- end -}}
{{- end -}}

{{/* What never changes of an operator's pods, for selectors: {top: $, shard: NAME}. */}}
{{- define "windlass.operatorSelector" -}}
app.kubernetes.io/name: windlass
app.kubernetes.io/instance: {{ .top.Release.Name }}
app.kubernetes.io/component: {{ if .shard }}{{ printf "operator-%s" .shard }}{{ else }}operator{{ end }}
{{- end -}}

{{- define "windlass.operatorLabels" -}}
{{ include "windlass.operatorSelector" . }}
app.kubernetes.io/part-of: windlass
app.kubernetes.io/version: {{ .top.Chart.AppVersion | quote }}
{{- end -}}

{{- define "windlass.labels" -}}
{{ include "windlass.selector" . }}
app.kubernetes.io/part-of: windlass
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{/* An image: {image: {repository, tag, digest}, default: tag}. */}}
{{- define "windlass.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .default | toString) -}}
{{- end -}}
{{- end -}}

{{/* The name of a Ballista cluster, of its scheduler and of its Service. */}}
{{- define "windlass.ballista" -}}
{{- printf "%s-ballista" (include "windlass.name" . | trunc 43 | trimSuffix "-") -}}
{{- end -}}

{{/* Ballista's clusters as the operator is told of them. Each is of one namespace, and nothing but NetworkPolicies keeps others from it. */}}
{{- define "windlass.ballistaClusters" -}}
{{- if (.Values.ballista).enabled -}}
{{- if not .Values.networkPolicy.enabled -}}
{{- fail "ballista.enabled needs networkPolicy.enabled: Ballista asks nobody who they are, and without a NetworkPolicy any pod could have it read what its keys open" -}}
{{- end -}}
{{- $clusters := list -}}
{{- $names := list -}}
{{- range .Values.ballista.namespaces -}}
{{- if has .name $names -}}
{{- fail (printf "ballista.namespaces names %s twice: a namespace has one cluster" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- $clusters = append $clusters (printf "%s=ballista://%s.%s.svc:50050" .name (include "windlass.ballista" $) .name) -}}
{{- end -}}
{{- join "," $clusters -}}
{{- end -}}
{{- end -}}

{{/* What never changes of a pod of Ballista's, for selectors: {root: $, component: …}. */}}
{{- define "windlass.ballistaSelector" -}}
app.kubernetes.io/name: windlass
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "windlass.ballistaLabels" -}}
{{ include "windlass.ballistaSelector" . }}
app.kubernetes.io/part-of: windlass
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end -}}

{{/* What kind people's roles are of: with watchNamespaces there is one of each in each of these namespaces. */}}
{{- define "windlass.roleKind" -}}
{{- if .Values.watchNamespaces -}}Role{{- else -}}ClusterRole{{- end -}}
{{- end -}}
