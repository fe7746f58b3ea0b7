// Generated from src/steps/render-config.ts by `npm run generate`. Do not edit.

Map call(Map inputs = [:]) {
    return crosscloud.step('render-config', [
        env: 'CROSSCLOUD_ENV',
        release: 'CROSSCLOUD_RELEASE',
        templates: 'CROSSCLOUD_TEMPLATES',
        out: 'CROSSCLOUD_OUT',
        tar: 'CROSSCLOUD_TAR',
        check: 'CROSSCLOUD_CHECK',
        runChecks: 'CROSSCLOUD_RUN_CHECKS',
        diff: 'CROSSCLOUD_DIFF',
    ], inputs)
}
