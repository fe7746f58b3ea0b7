// Generated from src/steps/approve.ts by `npm run generate`. Do not edit.

Map call(Map inputs = [:]) {
    return crosscloud.step('approve', [
        release: 'CROSSCLOUD_RELEASE',
        env: 'CROSSCLOUD_ENV',
        reason: 'CROSSCLOUD_REASON',
        reject: 'CROSSCLOUD_REJECT',
    ], inputs)
}
