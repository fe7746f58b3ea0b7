// Generated from src/steps/render-config.ts by `npm run generate`. Do not edit.

Map call(Object... given) {
    return crosscloud.step(
        given,
        variable: 'crosscloudRenderConfig',
        name: 'render-config',
        inputs: ['env', 'release', 'templates', 'out', 'tar', 'check', 'runChecks', 'diff'],
        attempts: 3
    )
}
