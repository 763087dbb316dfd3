{{- define "check" }}
{{- if not .Values.ok }}
{{- fail "set ok: true\nand try again" }}
{{- end }}
{{- end }}
