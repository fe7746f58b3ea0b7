// Generated from src/steps/approve.ts by `npm run generate`. Do not edit.

Map call(Object... given) {
    return crosscloud.step(
        given,
        variable: 'crosscloudApprove',
        name: 'approve',
        inputs: ['release', 'env', 'reason', 'reject'],
        attempts: 3
    )
}
