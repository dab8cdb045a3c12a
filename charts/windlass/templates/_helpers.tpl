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

{{/* What kind people's roles are of: with watchNamespaces there is one of each in each of these namespaces. */}}
{{- define "windlass.roleKind" -}}
{{- if .Values.watchNamespaces -}}Role{{- else -}}ClusterRole{{- end -}}
{{- end -}}
